"""Whatever bytes arrive in a form, /score answers 200 or says what is wrong; it never fails."""

import json
from typing import Any

import ormsgpack
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.service.conftest import Client
from tests.service.test_fuzz import BODIES, FUZZ, LIKELY
from tests.service.wire.bodies import ARROW, MSGPACK, TYPES, post, read, stream

STREAM = stream(
    pa.record_batch(
        {
            "item_id": ["i1", "i2", "i3"],
            "price": [1.0, 2.0, None],
            "brand": ["a", None, "c"],
            "affinity": [True, False, True],
        }
    ),
    {"user": {"id": "u1", "features": {"history": ["a"]}}},
)
DAMAGE = st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.integers(0, 255)), min_size=1, max_size=8)


def check(client: Client, body: bytes, sent: str, asked: str) -> None:
    response = post(client, body, sent, asked)
    assert response.status_code in (200, 400, 403, 422), response.text
    if response.status_code == 200:
        content, scores = read(response)
        assert {len(column) for column in scores.values()} == {len(content["item_ids"])}
    else:
        assert response.headers["content-type"] == "application/problem+json"
        assert json.loads(response.content)["detail"]


@FUZZ
@given(body=BODIES | LIKELY, asked=st.sampled_from(TYPES))
def test_messagepack_of_any_shape(client: Client, body: Any, asked: str) -> None:
    try:
        packed = ormsgpack.packb(body)
    except TypeError:  # what MessagePack cannot say
        return
    check(client, packed, MSGPACK, asked)


@FUZZ
@given(body=st.binary(max_size=60) | st.binary(max_size=20).map(lambda tail: b"\x81\xa8item_ids" + tail))
def test_bytes_that_are_almost_messagepack(client: Client, body: bytes) -> None:
    check(client, body, MSGPACK, MSGPACK)


@FUZZ
@given(damage=DAMAGE, cut=st.integers(0, len(STREAM)) | st.none())
def test_damaged_arrow(client: Client, damage: list[tuple[int, int]], cut: int | None) -> None:
    body = bytearray(STREAM)
    for place, value in damage:
        body[place] = value
    check(client, bytes(body[:cut]), ARROW, ARROW)
