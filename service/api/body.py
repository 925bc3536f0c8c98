"""The raw body of a request, bounded."""

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.errors import TOO_LARGE, ServiceProblem


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; a problem as soon as it is, or says it will be, longer than the limit."""
    return await receive_body(request.receive, request.headers.get("content-length", ""), limit)


async def receive_body(receive: Receive, announced: str, limit: int) -> bytes:
    """The same of a bare ASGI request; `announced` is its Content-Length."""
    if announced.isascii() and announced.isdigit() and (len(announced) > 18 or int(announced) > limit):
        raise _too_large(limit)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> ServiceProblem:
    return ServiceProblem(TOO_LARGE, f"at most {limit} bytes (TWINSCORE_MAX_BODY_BYTES)")
