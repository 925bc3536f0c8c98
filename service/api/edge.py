"""POST /score before FastAPI's router: bare ASGI, since routing and request objects cost more than the parsing.

service/api/score.py documents the operation.
"""

from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.body import receive_body
from service.errors import ServiceProblem, problem_response
from service.lifecycle import Service
from service.scoring.admission import DEADLINE_HEADER, deadline
from service.scoring.pipeline import ARM_HEADER, Call, new_call
from service.wire.negotiation import reader, writer

PATH = "/score"
_DEADLINE = DEADLINE_HEADER.lower().encode()
_ARM = ARM_HEADER.lower().encode()
_LEFT = 499  # the caller hung up before its request was complete; for metrics alone


class ScoreEdge:
    """Middleware that answers POST /score itself and passes on all else."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the app's lifespan."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == scope.get("root_path", "") + PATH:
            await self._score(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _score(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Score, or say what is wrong; count and time both."""
        started = perf_counter()
        metrics, call, status = self._service.metrics, new_call(), 500
        try:
            await self._answer(scope, receive, send, call, started)
            status = 200
        except ServiceProblem as problem:
            status = problem.kind.status
            reply = problem_response(problem.kind, problem.detail, call.request_id, retry_after=problem.retry_after)
            await reply(scope, receive, send)
        except ClientDisconnect:
            status = _LEFT
        except Exception:
            scope.setdefault("state", {})["request_id"] = call.request_id  # for whoever answers with it
            raise
        finally:
            metrics.requests.labels(status, call.arm, call.model).inc()
            metrics.stage["total"](perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, call: Call, started: float) -> None:
        settings, headers = self._service.settings, _headers(scope)
        reads, writes = reader(headers.get(b"content-type")), writer(headers.get(b"accept"))
        asked = headers.get(_DEADLINE)
        call.deadline = deadline(asked.decode("latin-1") if asked else None, settings.deadline_ms, started)
        if (arm := headers.get(_ARM)) is not None:
            call.forced = arm.decode("latin-1")
        announced = headers.get(b"content-length", b"").decode("latin-1")
        body = await receive_body(receive, announced, settings.max_body_bytes)
        reply = await self._service.ready_pipeline().score(body, call, reads, writes)
        sent = [
            (b"content-length", b"%d" % len(reply)),
            (b"content-type", writes.header),
            (b"x-request-id", call.request_id.encode("latin-1")),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": reply})


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Values by lower-case name; of a name sent twice all, as a list."""
    sent: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(sent)
    if len(headers) < len(sent):
        headers = {name: b", ".join(value for own, value in sent if own == name) for name in headers}
    return headers
