"""Forms of /score on the wire. JSON and MessagePack are one object in two encodings; Arrow is a table of candidates.

- `application/json`: ScoreRequest and ScoreReply; a score that is not finite is null.
- `application/msgpack`, also `application/x-msgpack`: the same keys; scores are float32 as they are, finite or not.
  Binary and extension types are refused.
- `application/vnd.apache.arrow.stream`: see service/wire/arrow.py; needs the extra `arrow`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import orjson
import ormsgpack
from pydantic import ValidationError

from service.errors import INVALID_MSGPACK, ServiceProblem, invalid_body
from service.messages import ScoreRequest

Content = dict[str, Any]  # the keys of ScoreReply; scores are float32 columns
ARROW_TYPE = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True, slots=True)
class Form:
    """One form: its media type, how a request is read from it and a reply written in it."""

    media_type: str
    read: Callable[[bytes], ScoreRequest]
    write: Callable[[Content], bytes]
    aliases: tuple[str, ...] = ()

    @property
    def header(self) -> bytes:
        """The Content-Type of a reply."""
        return self.media_type.encode()


def read_json(body: bytes) -> ScoreRequest:
    """A request in JSON; a problem where it is none or does not fit."""
    try:
        return ScoreRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_body(error) from None


def write_json(content: Content) -> bytes:
    """float32 columns with the fewest digits that read back to the same float32; not finite: null."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def read_msgpack(body: bytes) -> ScoreRequest:
    """A request in MessagePack; a problem where it is none or does not fit."""
    try:
        content = ormsgpack.unpackb(body)
    except ValueError as error:
        raise ServiceProblem(INVALID_MSGPACK, f"Invalid MessagePack: {error}") from None
    try:
        return ScoreRequest.model_validate(content)
    except ValidationError as error:
        raise invalid_body(error) from None


def write_msgpack(content: Content) -> bytes:
    """Scores as arrays of float32."""
    return ormsgpack.packb(content, option=ormsgpack.OPT_SERIALIZE_NUMPY)


def _forms() -> tuple[Form, ...]:
    forms = [
        Form("application/json", read_json, write_json),
        Form("application/msgpack", read_msgpack, write_msgpack, ("application/x-msgpack",)),
    ]
    if find_spec("pyarrow") is not None:
        from service.wire.arrow import read_arrow, write_arrow

        forms.append(Form(ARROW_TYPE, read_arrow, write_arrow))
    return tuple(forms)


FORMS = _forms()  # the first is the default
JSON = FORMS[0]
