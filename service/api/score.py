"""POST /score as the documentation shows it; service/api/edge.py answers it."""

from typing import Any

from fastapi import APIRouter
from pydantic.config import JsonDict

from contract.errors import Problem
from service.errors import (
    INVALID_ARROW,
    INVALID_FEATURE,
    INVALID_JSON,
    INVALID_MSGPACK,
    INVALID_REQUEST,
    MEDIA_TYPE,
    NOT_ACCEPTABLE,
    NOT_READY,
    OVERLOADED,
    OVERRIDE_NOT_ALLOWED,
    TOO_LARGE,
    UNKNOWN_ARM,
    UNSUPPORTED_TYPE,
    Kind,
)
from service.messages import REPLY_EXAMPLE, REQUEST_EXAMPLE, ScoreReply
from service.scoring.admission import DEADLINE_HEADER
from service.scoring.pipeline import ARM_HEADER
from service.wire.forms import ARROW_TYPE

router = APIRouter(tags=["scoring"])


def _problems(*examples: tuple[Kind, str]) -> dict[str, Any]:
    shown = {
        kind.name: {"value": Problem(
            type=f"urn:twinscore:problem:{kind.name}", title=kind.title, status=kind.status, detail=detail,
        ).model_dump(exclude_none=True)}
        for kind, detail in examples
    }  # fmt: skip
    schema = {"$ref": "#/components/schemas/Problem"}
    title = " or ".join(dict.fromkeys(kind.title for kind, _ in examples))
    return {"description": title, "content": {MEDIA_TYPE: {"schema": schema, "examples": shown}}}


def _contents(schema: str, example: JsonDict, arrow: str) -> dict[str, Any]:
    """One body in every form; in MessagePack it is the object of JSON."""
    one: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    binary = {"schema": {"type": "string", "format": "binary", "description": arrow}}
    return {"application/json": one, "application/msgpack": one, ARROW_TYPE: binary}


_REQUEST = _contents(
    "ScoreRequest",
    REQUEST_EXAMPLE,
    "One record batch, a row a candidate: column `item_id`, and a column for each item or cross field that comes with "
    "the request; a null takes the field's default. `user`, `context`, `request_id` and `arm` are JSON in the "
    'schema\'s metadata under the key `twinscore`, such as `{"user": {"id": "u42"}, "context": {"scene": "home"}}`. '
    "Neither compressed nor dictionary-encoded. The service needs the extra `arrow`.",
)
_REPLY = _contents(
    "ScoreReply",
    REPLY_EXAMPLE,
    "One record batch: `item_id`, and a float32 column for each task; all else of a ScoreReply is JSON in the schema's "
    "metadata under the key `twinscore`.",
)
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": ScoreReply, "content": _REPLY, "description": "Scores, in the form that Accept asks for"},
    400: _problems(
        (INVALID_JSON, "Invalid JSON: EOF while parsing an object at line 1 column 9"),
        (INVALID_MSGPACK, "Invalid MessagePack: unexpected end of file"),
        (INVALID_ARROW, "Invalid Arrow stream: it ends before its record batch"),
    ),
    403: _problems((OVERRIDE_NOT_ALLOWED, "arm: requests may not choose their arm here")),
    406: _problems((NOT_ACCEPTABLE, "Accept: text/html is not written; ask for application/json or …")),
    413: _problems((TOO_LARGE, "at most 1048576 bytes")),
    415: _problems((UNSUPPORTED_TYPE, "Content-Type: text/plain is not read; send application/json or …")),
    422: _problems(
        (INVALID_REQUEST, "send 'items' or 'item_ids', exactly one of the two"),
        (INVALID_FEATURE, "items[3].features.price: field 'price' takes a finite number, not 'cheap'"),
        (UNKNOWN_ARM, "arm 'mmoe' is unknown; known: dtn, ple"),
    ),
    503: _problems((OVERLOADED, "32768 candidates wait for the model"), (NOT_READY, "models are being loaded")),
}
_BODY = {"required": True, "content": _REQUEST}
_DEADLINE = {
    "name": DEADLINE_HEADER,
    "in": "header",
    "description": "Milliseconds from its arrival after which the reply is of no use: 503 rather than late",
    "schema": {"type": "integer", "minimum": 1},
}
_ARM = {
    "name": ARM_HEADER,
    "in": "header",
    "description": "A forced arm, ARM or EXPERIMENT/ARM, where the service allows it; as `arm` in the body",
    "schema": {"type": "string"},
}


@router.post(
    "/score",
    responses=_RESPONSES,
    openapi_extra={"requestBody": _BODY, "parameters": [_DEADLINE, _ARM]},
    summary="Score candidates",
)
async def score() -> None:
    """Scores of 1 to MAX_ITEMS candidates for a user: a probability, or the value itself where a task is continuous.

    Content-Type says in which form the request comes, Accept in which the reply shall be; without them both are JSON.
    A score that is not finite is null in JSON, and not a number in the other forms.
    """
    raise NotImplementedError("service/api/edge.py answers before the router")
