"""Errors of the HTTP edge: RFC 9457 problem details, the same shape for ours and for the framework's."""

import re
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from contract.errors import Problem, first_error

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 1  # seconds
_LONGEST_DETAIL = 400
_SAID = {r"should be a valid dictionary( or instance of \w+)?": "should be an object", "a valid list": "a valid array"}


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its stable name, status and summary."""

    name: str
    status: int
    title: str


INVALID_JSON = Kind("invalid-json", 400, "The body is not JSON")
INVALID_MSGPACK = Kind("invalid-msgpack", 400, "The body is not MessagePack")
INVALID_ARROW = Kind("invalid-arrow", 400, "The body is not an Arrow stream")
NOT_ACCEPTABLE = Kind("not-acceptable", 406, "No such form of the reply")
UNSUPPORTED_TYPE = Kind("unsupported-media-type", 415, "No such form of the request")
TOO_LARGE = Kind("body-too-large", 413, "The body is too large")
INVALID_REQUEST = Kind("invalid-request", 422, "The request does not fit")
INVALID_FEATURE = Kind("invalid-feature", 422, "A feature does not fit the model's schema")
UNKNOWN_ARM = Kind("unknown-arm", 422, "No such arm")
UNKNOWN_EXPERIMENT = Kind("unknown-experiment", 404, "No such experiment")
NO_READOUT = Kind("no-readout", 503, "No readout is stored")
OVERRIDE_NOT_ALLOWED = Kind("override-not-allowed", 403, "Requests may not choose their arm")
NOT_READY = Kind("not-ready", 503, "The service is not ready")
OVERLOADED = Kind("overloaded", 503, "Too much is waiting")
LOG_DOWN = Kind("log-down", 503, "The log does not take events now")
LOG_OFF = Kind("log-off", 501, "No events are kept here")
INTERNAL = Kind("internal", 500, "The service failed")


class ServiceProblem(Exception):
    """What a handler raises to answer with a problem."""

    def __init__(self, kind: Kind, detail: str, retry_after: int = RETRY_AFTER) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.retry_after = kind, detail, retry_after


def problem_response(
    kind: Kind,
    detail: str,
    request_id: str | None = None,
    allow: str | None = None,
    retry_after: int = RETRY_AFTER,
) -> Response:
    """The reply that says what is wrong; `allow` lists the methods after a 405, `retry_after` is sent with a 503."""
    if len(detail) > _LONGEST_DETAIL:
        detail = detail[:_LONGEST_DETAIL] + "…"
    known = kind.name != "about:blank"
    problem = Problem(
        type=f"urn:twinscore:problem:{kind.name}" if known else kind.name,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request_id,
    )
    headers = {"Retry-After": str(retry_after)} if kind.status == 503 else {}
    headers |= {"X-Request-ID": request_id} if request_id else {}
    headers |= {"Allow": allow} if allow else {}
    headers |= {"WWW-Authenticate": "Bearer"} if kind.status == 401 else {}
    return Response(problem.model_dump_json(exclude_none=True), kind.status, headers, MEDIA_TYPE)


def invalid_body(error: ValidationError) -> ServiceProblem:
    """The problem of a body that pydantic refused: 400 where it is not JSON, else 422."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return ServiceProblem(INVALID_JSON, first["msg"])
    detail = first_error(error).replace("Extra inputs are not permitted", "unknown key")
    for pattern, said in _SAID.items():  # of what was not JSON pydantic speaks in Python's terms
        detail = re.sub(pattern, said, detail)
    return ServiceProblem(INVALID_REQUEST, detail)


def handle_problems(app: FastAPI) -> None:
    """Answer every error of the app with a problem."""

    @app.exception_handler(ServiceProblem)
    async def ours(request: Request, problem: ServiceProblem) -> Response:
        return problem_response(problem.kind, problem.detail, retry_after=problem.retry_after)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        kind = Kind("about:blank", error.status_code, HTTPStatus(error.status_code).phrase)
        allow = (error.headers or {}).get("Allow")
        return problem_response(kind, f"{request.method} {request.url.path}: {error.detail.lower()}", allow=allow)

    @app.exception_handler(RequestValidationError)
    async def parameters(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return problem_response(INVALID_REQUEST, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        # the server logs the traceback; the caller gets no internals
        request_id = getattr(request.state, "request_id", None)
        return problem_response(INTERNAL, "an unexpected error; the service's log has it", request_id)
