"""POST /score before the router: what a bare ASGI server may send."""

from typing import Any

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import Client

Message = dict[str, Any]


def call(client: Client, scope: Message, *messages: Message) -> list[Message]:
    """The messages that the app sends for these."""
    app = client.http._transport.app  # type: ignore[attr-defined]
    waiting, sent = list(messages), []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    base = {"type": "http", "method": "POST", "path": "/score", "headers": [], "query_string": b"", "root_path": ""}
    client.run(app(base | scope, receive, send))
    return sent


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_may_come_in_parts(client: Client) -> None:
    start, body = call(
        client, {}, part(b'{"item_', True), {"type": "http.request", "more_body": True}, part(b'ids": [1]}')
    )
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()


def test_a_caller_that_leaves_is_no_failure(client: Client) -> None:
    assert call(client, {}, part(b"{", True), {"type": "http.disconnect"}) == []
    assert client.metric('twinscore_requests_total{arm="",model="",status="499"}') == 1
    assert client.metric('twinscore_requests_total{arm="",model="",status="500"}') == 0


def test_an_announced_length_of_any_digits_is_compared(client: Client) -> None:
    sent = call(client, {"headers": [(b"content-length", b"9" * 5000)]}, part(b"{}"))
    assert sent[0]["status"] == 413


def test_behind_a_prefix_it_is_the_same(client: Client) -> None:
    scope = {"path": "/ranking/score", "root_path": "/ranking"}
    assert call(client, scope, part(b'{"item_ids": [1]}'))[0]["status"] == 200


def test_the_edge_leaves_all_else_to_the_app(settings: Settings, client: Client) -> None:
    assert client.http.base_url.path == "/"
    assert client.get("/score").status_code == 405
    assert client.post(b'{"item_ids": [1]}', "/score/x").status_code == 404
    assert create_app(settings).openapi()["paths"]["/score"]["post"]["requestBody"]["content"].keys() == {
        "application/json", "application/msgpack", "application/vnd.apache.arrow.stream",
    }  # fmt: skip
