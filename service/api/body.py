"""The raw body of a request, bounded."""

from fastapi import Request

from service.errors import TOO_LARGE, ServiceProblem


async def read_body(request: Request, limit: int) -> bytes:
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
