"""The same request scores the same in every form, and what is wrong with it is said the same."""

from typing import Any

import numpy as np
import ormsgpack
import pytest

from tests.service.conftest import ITEMS, Client
from tests.service.test_score import BAD
from tests.service.wire.bodies import ARROW, JSON, MSGPACK, TYPES, post, read, written

PLAIN: dict[str, Any] = {"user": {"id": "u1"}, "item_ids": list(ITEMS), "context": {"scene": "cart", "hour": 0.7}}
INLINE: dict[str, Any] = {
    "user": {"id": "u1", "features": {"gender": "m", "history": ["b", "unseen", "a"]}},
    "items": [
        {"id": f"i{n}", "features": {"price": n / 7, "category": "vz"[n % 2], "brand": None, "affinity": n}}
        for n in range(5)
    ],
    "arm": "dtn",
}


@pytest.mark.parametrize("body", [PLAIN, INLINE], ids=["stored", "inline"])
@pytest.mark.parametrize("sent", TYPES)
@pytest.mark.parametrize("asked", TYPES)
def test_every_form_gives_the_scores_of_json_bit_by_bit(
    client: Client, body: dict[str, Any], sent: str, asked: str
) -> None:
    body = body | {"request_id": "r1"}
    wanted, scores = read(post(client, written(body, JSON), JSON))
    response = post(client, written(body, sent), sent, asked)
    assert (response.status_code, response.headers["content-type"]) == (200, asked), response.text
    assert int(response.headers["content-length"]) == len(response.content)
    rest, got = read(response)
    assert rest == wanted
    assert response.headers["x-request-id"] == "r1"
    assert list(got) == list(scores) == ["ctr", "ctcvr", "cvr"]
    for task, column in scores.items():
        np.testing.assert_array_equal(got[task], column)
    assert len(set(scores["ctr"].tolist())) > 3


@pytest.mark.parametrize("sent", TYPES)
@pytest.mark.parametrize("asked", TYPES)
def test_numbers_stay_numbers(client: Client, sent: str, asked: str) -> None:
    rest, _ = read(post(client, written({"item_ids": [1, -(2**63), 2**63 - 1]}, sent), sent, asked))
    assert rest["item_ids"] == [1, -(2**63), 2**63 - 1]


def test_arrow_writes_mixed_ids_as_text(client: Client) -> None:
    rest, _ = read(post(client, written({"item_ids": [1, "i1"]}, JSON), JSON, ARROW))
    assert rest["item_ids"] == ["1", "i1"]


def test_messagepack_scores_are_float32_on_the_wire(client: Client) -> None:
    content = post(client, written(PLAIN, MSGPACK), MSGPACK, MSGPACK).content
    start = content.index(b"\xa3ctr") + 4
    assert content[start : start + 4] == b"\xdc\x00\x28\xca"  # 40 elements, the first a 32-bit float


@pytest.mark.parametrize("form", [MSGPACK, ARROW])
def test_a_score_that_is_not_finite_stays_so(client: Client, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr("service.scoring.pipeline.compose", lambda s: {k: v * np.float32("nan") for k, v in s.items()})
    rest, scores = read(post(client, written(PLAIN, JSON), JSON, form))
    assert rest["degraded"] == ["scores:not-finite"]
    assert np.isnan(scores["ctr"]).all()


def _packable(body: object) -> bool:
    try:
        ormsgpack.packb(body)
    except TypeError:  # integers of more than 64 bits
        return False
    return True


@pytest.mark.parametrize("body", [body for body, *_ in BAD if _packable(body)])
def test_messagepack_says_what_json_says(client: Client, body: dict[str, Any]) -> None:
    body = body | {"request_id": "r1"} if "request_id" not in body else body
    ours, json = (post(client, written(body, form), form) for form in (MSGPACK, JSON))
    unnamed = {"instance": ""}  # made anew where the body did not parse
    assert (ours.status_code, ours.json() | unnamed) == (json.status_code, json.json() | unnamed)
    assert ours.headers["content-type"] == "application/problem+json"


SHAPES: list[object] = [
    [], None, 1, {"item_ids": {}}, {"item_ids": "i1"}, {"items": {"id": 1}}, {"items": [1]}, {"items": [[]]},
    {"items": [{"id": 1, "features": []}]}, {"item_ids": [1], "user": 1}, {"item_ids": [1], "user": {"features": 1}},
    {"item_ids": [1], "context": []}, {"item_ids": [1], "request_id": 1}, {"item_ids": [1], "arm": 1},
]  # fmt: skip


@pytest.mark.parametrize("body", SHAPES, ids=str)
def test_a_wrong_shape_reads_the_same(client: Client, body: dict[str, Any]) -> None:
    ours, json = (post(client, written(body, form), form) for form in (MSGPACK, JSON))
    assert (ours.status_code, ours.json()["detail"]) == (json.status_code, json.json()["detail"]) != (200, "")


MALFORMED: list[tuple[bytes, int, str]] = [
    (b"", 400, "Invalid MessagePack"),
    (b"\xc1", 400, "Invalid MessagePack"),
    (ormsgpack.packb(PLAIN)[:-1], 400, "unexpected end"),
    (b"\xdd\xff\xff\xff\xff", 400, "unexpected end"),
    (b"\xdf\xff\xff\xff\xff", 400, "unexpected end"),
    (b"\xdb\xff\xff\xff\xffx", 400, "unexpected end"),
    (b"\x91" * 100_000, 400, "Recursion limit"),
    (b"\x81\x01\x02", 400, "Invalid MessagePack"),  # a key that is a number
    (b"\xa1\xff", 400, "UTF-8"),
    (ormsgpack.packb({"item_ids": [ormsgpack.Ext(1, b"x")]}), 400, "ext_hook"),
    (ormsgpack.packb({"item_ids": [b"i1"]}), 422, "item_ids[0]: an id is"),
    (ormsgpack.packb({"item_ids": [1], "request_id": b"r"}), 422, "request_id"),
    (ormsgpack.packb({"item_ids": [1], "arm": b"ple"}), 422, "arm"),
    (ormsgpack.packb({"item_ids": [1], "context": {"scene": b"cart"}}), 422, "context.scene"),
    (ormsgpack.packb({"item_ids": [1], "context": {"hour": b"1"}}), 422, "context.hour"),
    (ormsgpack.packb({"item_ids": [1], "user": {"features": {"history": b"ab"}}}), 422, "user.features.history"),
    (ormsgpack.packb({"item_ids": [1], "context": {"hour": float("nan")}}), 422, "takes a finite number"),
    (b'{"item_ids": ["i1"]}', 422, "object"),  # the brace is the number 123
]


@pytest.mark.parametrize(("body", "status", "detail"), MALFORMED, ids=[str(body[:24]) for body, *_ in MALFORMED])
def test_messagepack_that_is_none(client: Client, body: bytes, status: int, detail: str) -> None:
    response = post(client, body, MSGPACK)
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]
    assert response.json()["type"].endswith("invalid-msgpack") == (status == 400)
