"""POST /score as the documentation shows it; service/api/edge.py answers it."""

from typing import Any

from fastapi import APIRouter

from contract.errors import Problem
from service.errors import (
    INVALID_FEATURE,
    INVALID_JSON,
    INVALID_REQUEST,
    MEDIA_TYPE,
    NOT_READY,
    OVERLOADED,
    OVERRIDE_NOT_ALLOWED,
    TOO_LARGE,
    UNKNOWN_ARM,
    Kind,
)
from service.messages import REPLY_EXAMPLE, ScoreReply
from service.scoring.admission import DEADLINE_HEADER

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


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": ScoreReply, "content": {"application/json": {"example": REPLY_EXAMPLE}}, "description": "Scores"},
    400: _problems((INVALID_JSON, "Invalid JSON: EOF while parsing an object at line 1 column 9")),
    403: _problems((OVERRIDE_NOT_ALLOWED, "arm: requests may not choose their arm here")),
    413: _problems((TOO_LARGE, "at most 1048576 bytes")),
    422: _problems(
        (INVALID_REQUEST, "send 'items' or 'item_ids', exactly one of the two"),
        (INVALID_FEATURE, "items[3].features.price: field 'price' takes a finite number, not 'cheap'"),
        (UNKNOWN_ARM, "arm 'mmoe' is unknown; known: dtn, ple"),
    ),
    503: _problems((OVERLOADED, "32768 candidates wait for the model"), (NOT_READY, "models are being loaded")),
}
_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ScoreRequest"}}},
}
_DEADLINE = {
    "name": DEADLINE_HEADER,
    "in": "header",
    "description": "Milliseconds from its arrival after which the reply is of no use: 503 rather than late",
    "schema": {"type": "integer", "minimum": 1},
}


@router.post(
    "/score",
    responses=_RESPONSES,
    openapi_extra={"requestBody": _BODY, "parameters": [_DEADLINE]},
    summary="Score candidates",
)
async def score() -> None:
    """The tasks' scores of 1 to MAX_ITEMS candidates for a user: probabilities, or values of continuous tasks."""
    raise NotImplementedError("service/api/edge.py answers before the router")
