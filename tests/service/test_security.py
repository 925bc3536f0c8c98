"""Only who brings the token changes what is served."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from service.settings import Settings
from tests.service.conftest import Client, running


@pytest.fixture
def guarded(settings: Settings) -> Iterator[Client]:
    with running(settings.model_copy(update={"admin_token": SecretStr("geheim-ü")})) as client:
        yield client


def put(client: Client, **headers: str) -> tuple[int, str, str | None]:
    """Status, detail and challenge."""
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    reply = client.run(client.http.put("/experiments", content=b"x", headers=sent))
    return reply.status_code, reply.json()["detail"], reply.headers.get("www-authenticate")


def test_without_a_token_set_nobody_may(client: Client) -> None:
    status, detail, _ = put(client, authorization="Bearer ")
    assert (status, detail) == (403, "set TWINSCORE_ADMIN_TOKEN; without it nobody may change what is served")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  ", "Basic geheim-ü"])
def test_without_a_bearer_one_is_asked_for(guarded: Client, header: str) -> None:
    status, detail, challenge = put(guarded, authorization=header)
    assert (status, challenge) == (401, "Bearer")
    assert "Authorization: Bearer" in detail


def test_a_wrong_token_is_not_enough(guarded: Client) -> None:
    assert put(guarded, authorization="Bearer geheim") == (403, "this is not the token of TWINSCORE_ADMIN_TOKEN", None)
    assert put(guarded)[0] == 401


def test_the_token_lets_in_and_the_secret_is_not_shown(guarded: Client) -> None:
    status, detail, _ = put(guarded, authorization="bearer geheim-ü")
    assert (status, detail.startswith("body:1: ")) == (422, True)
    assert "geheim" not in repr(guarded.service.settings)
