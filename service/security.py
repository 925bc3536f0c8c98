"""Who may change what is served: whoever brings TWINSCORE_ADMIN_TOKEN as a bearer."""

from hmac import compare_digest

from fastapi import Request

from service.api.state import service_of
from service.errors import Kind, ServiceProblem

UNAUTHORIZED = Kind("unauthorized", 401, "Who are you?")
FORBIDDEN = Kind("forbidden", 403, "You may not do this")
_LONGEST_AUTHOR = 100


async def administrator(request: Request) -> str:
    """The author's name, X-Author or `token`; a problem where the request brings no valid token."""
    token = service_of(request).settings.admin_token
    if token is None:
        raise ServiceProblem(FORBIDDEN, "set TWINSCORE_ADMIN_TOKEN; without it nobody may change what is served")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise ServiceProblem(UNAUTHORIZED, "send `Authorization: Bearer` and the token of TWINSCORE_ADMIN_TOKEN")
    if not compare_digest(given.strip().encode("latin-1"), token.get_secret_value().encode()):
        raise ServiceProblem(FORBIDDEN, "this is not the token of TWINSCORE_ADMIN_TOKEN")
    return _author(request) or "token"


def _author(request: Request) -> str:
    sent = request.headers.get("x-author", "").encode("latin-1").decode(errors="replace")  # UTF-8, as curl sends it
    return "".join(letter for letter in sent if letter.isprintable()).strip()[:_LONGEST_AUTHOR]
