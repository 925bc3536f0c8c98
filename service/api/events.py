"""POST /events: what users did. Answered when the log has it, since an event that is lost is lost for good."""

import re
from datetime import datetime
from decimal import Decimal
from time import time
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.config import JsonDict

from service.api.body import read_body
from service.api.state import service_of
from service.errors import INVALID_REQUEST, LOG_DOWN, LOG_OFF, MEDIA_TYPE, ServiceProblem, invalid_body
from service.experiments.log.records import MICROS, Event
from service.experiments.log.sinks import SinkDown
from service.messages import Id

router = APIRouter(tags=["experiments"])
MOST_EVENTS = 1000
MOST_VALUE = 10**12  # in millionths it fits 64 bits
_AHEAD = 24 * 3_600_000  # milliseconds that a clock may be ahead of ours
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EXAMPLE: JsonDict = {
    "id": "order-1-line-1", "user": "u42", "type": "conversion", "time": "2026-11-22T20:15:00Z", "value": 19.99,
    "request_id": "7d0c6f0a9f6b4a40b1a3a6f3d9f0c1e2", "item_id": "i1",
}  # fmt: skip


def _milliseconds(sent: object) -> int:
    """Since 1970, UTC."""
    if isinstance(sent, str) and _RFC_3339.fullmatch(sent):
        try:
            found = int(datetime.fromisoformat(sent.upper()).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise ValueError("no such date or time of day") from None
    elif isinstance(sent, int) and not isinstance(sent, bool):
        found = sent
    else:
        raise ValueError("takes RFC 3339 with a zone, such as 2026-11-22T20:15:00Z, or whole milliseconds since 1970")
    if found < 0:
        raise ValueError("lies before 1970")
    if found > time() * 1000 + _AHEAD:
        raise ValueError("lies more than 24 hours in the future; in milliseconds since 1970?")
    return found


def _number(sent: object) -> float | None:
    """As it was sent: a whole number stays one, and exact."""
    if sent is None or (isinstance(sent, int | float) and not isinstance(sent, bool) and abs(sent) <= MOST_VALUE):
        return sent
    raise ValueError(f"takes a finite number, at most {MOST_VALUE:,} either way")


class SentEvent(BaseModel):
    """What a user did, as it is sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    id: StrictStr = Field(min_length=1, max_length=128, description="of the event; sent again, it counts once")
    user: Id = Field(description="as in /score; 42 and '42' are one user")
    type: Literal["click", "conversion", "value"]
    time: Annotated[
        int,
        BeforeValidator(_milliseconds, json_schema_input_type=str | int),
        Field(description="RFC 3339 with a zone, or milliseconds since 1970; now if absent"),
    ] = Field(default_factory=lambda: int(time() * 1000))
    value: Annotated[
        float | None,
        PlainValidator(_number, json_schema_input_type=float | None),
        Field(description="of a conversion or a value, kept in whole millionths; below 0 it is a refund"),
    ] = None
    request_id: StrictStr | None = Field(default=None, pattern=r"^[\x21-\x7e]{1,128}$", description="of /score")
    item_id: Id | None = None

    @model_validator(mode="after")
    def _fitting_value(self) -> Self:
        if self.type == "value" and self.value is None:
            raise ValueError("an event of type 'value' needs a value")
        if self.type == "click" and self.value is not None:
            raise ValueError("a click has no value; send an event of type 'value' too")
        return self

    def record(self) -> Event:
        """As the log keeps it."""
        event: Event = {"kind": self.type, "time": self.time, "id": self.id, "user": str(self.user)}
        if self.value is not None:
            event["value"] = _millionths(self.value)
        if self.request_id is not None:
            event["request"] = self.request_id
        if self.item_id is not None:
            event["item"] = str(self.item_id)
        return event


def _millionths(value: float) -> int:
    """Of the number as it is written: 19.99 is 19,990,000."""
    return round(Decimal(repr(value)) * MICROS)


_ONE = TypeAdapter(SentEvent)
_SEVERAL = TypeAdapter(Annotated[list[SentEvent], Field(min_length=1, max_length=MOST_EVENTS, fail_fast=True)])


class Accepted(BaseModel):
    """The log has them."""

    accepted: int


_SCHEMA = {"$ref": "#/components/schemas/SentEvent"}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"oneOf": [_SCHEMA, {"type": "array", "items": _SCHEMA, "minItems": 1, "maxItems": MOST_EVENTS}]},
            "example": _EXAMPLE,
        }
    },
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": meaning, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for status, meaning in {
        400: "The body is not JSON",
        413: "The body is too large",
        422: "An event does not fit; the detail names it, such as events[3].time",
        501: "The service runs with TWINSCORE_LOG=off",
        503: "The log did not take them in time; send the same events again",
    }.items()
}


@router.post(
    "/events",
    status_code=202,
    responses=_PROBLEMS,
    openapi_extra={"requestBody": _BODY},
    summary="Tell what users did",
)
async def events(request: Request) -> Accepted:
    """One event, or a list of up to 1,000, all of which are taken or none.

    202 when the log has them. After 503, or no answer, send the same ids again: an id counts once.
    """
    service = service_of(request)
    records = _read(await read_body(request, service.settings.max_body_bytes), service.settings.max_id_bytes)
    if service.log.off:
        raise ServiceProblem(LOG_OFF, "set TWINSCORE_LOG to keep events")
    try:
        await service.log.write(records)
    except SinkDown as down:
        raise ServiceProblem(LOG_DOWN, f"{down}; send the same events again") from None
    return Accepted(accepted=len(records))


def _read(body: bytes, longest: int) -> list[Event]:
    """The events of a body; the problem names the first that does not fit."""
    several = body.lstrip()[:1] == b"["
    try:
        sent = _SEVERAL.validate_json(body) if several else [_ONE.validate_json(body)]
    except ValidationError as error:
        problem = invalid_body(error)
        place = "events" if problem.detail.startswith("[") else "events: "
        raise ServiceProblem(problem.kind, f"{place}{problem.detail}" if several else problem.detail) from None
    for i, event in enumerate(sent):
        for name, value in (("user", event.user), ("item_id", event.item_id)):
            if len(str(value).encode()) > longest:
                where = f"events[{i}].{name}" if several else name
                raise ServiceProblem(INVALID_REQUEST, f"{where}: longer than {longest} bytes of UTF-8")
    return [event.record() for event in sent]
