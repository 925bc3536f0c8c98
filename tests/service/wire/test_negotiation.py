"""Content-Type picks the reader, Accept the writer."""

import json

import pytest

from service.errors import ServiceProblem
from service.wire.negotiation import reader, writer
from tests.service.conftest import Client
from tests.service.wire.bodies import ARROW, JSON, MSGPACK, post

BODY = b'{"item_ids": ["i1"]}'
ACCEPTED: list[tuple[str | None, str]] = [
    (None, JSON),
    ("", JSON),
    ("*/*", JSON),
    ("application/*", JSON),
    ("application/json", JSON),
    ("Application/JSON; charset=utf-8", JSON),
    ("application/msgpack", MSGPACK),
    ("application/x-msgpack", MSGPACK),
    (ARROW, ARROW),
    ("application/msgpack, application/json", JSON),
    ("application/msgpack, application/json;q=0.9", MSGPACK),
    ("application/msgpack;q=0.5, application/json;q=0.4, */*;q=0.1", MSGPACK),
    ("application/json;q=0, */*", MSGPACK),
    ("application/json;q=0.1, */*;q=0.5", MSGPACK),
    ("application/*;q=0.2, application/vnd.apache.arrow.stream", ARROW),
    ("text/html, application/xml;q=0.9, */*;q=0.8", JSON),
    ("text/html, application/x-msgpack ; q = 0.3", MSGPACK),
    ("application/json;q=much, application/msgpack;q=0.001", MSGPACK),
    ("application/json;q=7, application/msgpack;q=nan, application/vnd.apache.arrow.stream;q=.1", ARROW),
    (",,;;, application/msgpack,", MSGPACK),
]


@pytest.mark.parametrize(("accept", "form"), ACCEPTED)
def test_the_preferred_form_is_written(accept: str | None, form: str) -> None:
    assert writer(None if accept is None else accept.encode()).media_type == form


REFUSED = ["text/html", "application/json;q=0", "*/*;q=0", "json", "text/*", "a" * 9999]


@pytest.mark.parametrize("accept", REFUSED, ids=[accept[:20] for accept in REFUSED])
def test_a_form_that_is_not_written_is_a_406_that_names_those_that_are(client: Client, accept: str) -> None:
    response = post(client, BODY, JSON, accept)
    assert (response.status_code, response.headers["content-type"]) == (406, "application/problem+json")
    problem = response.json()
    assert problem["type"] == "urn:twinscore:problem:not-acceptable"
    assert f"ask for {JSON} or {MSGPACK} or {ARROW}" in problem["detail"]
    assert problem["instance"] == response.headers["x-request-id"]


@pytest.mark.parametrize("content_type", [None, JSON, "APPLICATION/JSON", "application/json;charset=utf-8"])
def test_json_is_read_by_its_type_and_without_any(client: Client, content_type: str | None) -> None:
    assert post(client, BODY, content_type).status_code == 200


def test_messagepack_has_two_names() -> None:
    assert reader(b"application/x-msgpack") is reader(b"application/msgpack; v=5") is writer(b"application/msgpack")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_a_type_that_is_not_read_is_a_415_that_names_those_that_are(client: Client, content_type: str) -> None:
    response = post(client, BODY, content_type)
    assert (response.status_code, response.headers["content-type"]) == (415, "application/problem+json")
    assert response.json()["type"] == "urn:twinscore:problem:unsupported-media-type"
    assert f"send {JSON} or {MSGPACK} or {ARROW}" in response.json()["detail"]
    assert client.metric('twinscore_requests_total{arm="",model="",status="415"}') == 1


def test_accept_sent_twice_is_one_list(client: Client) -> None:
    headers = [("Content-Type", JSON), ("Accept", "text/html"), ("Accept", "application/x-msgpack")]
    request = client.http.build_request("POST", "/score", content=BODY)
    request.headers = type(request.headers)(headers)
    response = client.run(client.http.send(request))
    assert (response.status_code, response.headers["content-type"]) == (200, MSGPACK)


def test_nothing_is_compressed(client: Client) -> None:
    body = json.dumps({"item_ids": [f"i{n}" for n in range(200)]}).encode()
    headers = {"Accept-Encoding": "gzip, br, zstd, deflate"}
    response = client.run(client.http.post("/score", content=body, headers=headers))
    assert "content-encoding" not in response.headers
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.content.startswith(b"{")


def test_what_callers_send_is_not_kept_without_bound() -> None:
    for n in range(1000):
        with pytest.raises(ServiceProblem):
            reader(f"text/{n}".encode())
        writer(f"application/json;q=0.{n:04}1".encode())
    assert writer.cache_info().currsize <= 64
    assert reader.cache_info().currsize <= 64
