"""Content-Type says what a request is, Accept what its reply shall be. Answers are kept: callers send few headers."""

from functools import lru_cache

from service.errors import NOT_ACCEPTABLE, UNSUPPORTED_TYPE, ServiceProblem
from service.wire.forms import ARROW_TYPE, FORMS, JSON, Form

_BY_TYPE = {name: form for form in FORMS for name in (form.media_type, *form.aliases)}
_SHOWN = 80  # characters of a header in a problem


@lru_cache(64)
def reader(content_type: bytes | None) -> Form:
    """The form of a body; JSON where no type is given."""
    if content_type is None:
        return JSON
    name = _media_type(content_type.decode("latin-1"))
    if name not in _BY_TYPE:
        shown = name[:_SHOWN] or "empty"
        raise ServiceProblem(UNSUPPORTED_TYPE, f"Content-Type: {shown} is not read; send {_known(name)}")
    return _BY_TYPE[name]


@lru_cache(64)
def writer(accept: bytes | None) -> Form:
    """The form that the caller prefers, the earlier of FORMS where two are equal; JSON where none is asked for."""
    if accept is None or not accept.strip():
        return JSON
    ranges = dict(map(_range, accept.decode("latin-1").split(",")))
    weights = {form: max(_weight(ranges, name) for name in (form.media_type, *form.aliases)) for form in FORMS}
    best = max(FORMS, key=weights.__getitem__)  # the first of equals
    if not weights[best]:
        asked = accept.decode("latin-1")
        raise ServiceProblem(NOT_ACCEPTABLE, f"Accept: {asked[:_SHOWN]} is not written; ask for {_known(asked)}")
    return best


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()


def _range(text: str) -> tuple[str, float]:
    """A media range and its weight; one that cannot be read weighs nothing."""
    name, *parameters = text.split(";")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    return name.strip().lower(), weight if 0 <= weight <= 1 else 0.0


def _weight(ranges: dict[str, float], name: str) -> float:
    """By the most specific range that holds this type."""
    for candidate in (name, f"{name.partition('/')[0]}/*", "*/*"):
        if candidate in ranges:
            return ranges[candidate]
    return 0.0


def _known(asked: str) -> str:
    names = " or ".join(form.media_type for form in FORMS)
    if ARROW_TYPE in asked.lower() and ARROW_TYPE not in _BY_TYPE:
        return f"{names}; Arrow needs the service's extra: pip install 'twinscore[arrow]'"
    return names
