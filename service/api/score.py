"""POST /score: parsed from the raw bytes and answered in bytes; FastAPI only documents the two."""

from time import perf_counter
from typing import Any

from fastapi import APIRouter, Request, Response

from contract.errors import Problem
from service.api.state import service_of
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
    ServiceProblem,
    problem_response,
)
from service.messages import REPLY_EXAMPLE, ScoreReply
from service.scoring.pipeline import new_call

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


@router.post("/score", responses=_RESPONSES, openapi_extra={"requestBody": _BODY}, summary="Score candidates")
async def score(request: Request) -> Response:
    """Click and conversion probability of 1 to MAX_ITEMS candidates for a user."""
    started = perf_counter()
    service, call, status = service_of(request), new_call(), 500
    try:
        body = await _body(request, service.settings.max_body_bytes)
        reply = await service.ready_pipeline().score(body, call)
        status = 200
        return Response(reply, 200, {"X-Request-ID": call.request_id}, "application/json")
    except ServiceProblem as problem:
        status = problem.kind.status
        return problem_response(problem.kind, problem.detail, call.request_id)
    finally:
        request.state.request_id = call.request_id
        service.metrics.requests.labels(status, call.arm, call.model).inc()
        service.metrics.stage["total"](perf_counter() - started)


async def _body(request: Request, limit: int) -> bytes:
    """The whole body; a problem as soon as it is, or says it will be, longer than the limit."""
    problem = ServiceProblem(TOO_LARGE, f"at most {limit} bytes (TWINSCORE_MAX_BODY_BYTES)")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > limit:
        raise problem
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise problem
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
