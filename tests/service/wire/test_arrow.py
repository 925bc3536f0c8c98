"""Arrow streams: other types, and everything that is not one."""

import json
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from service.errors import ServiceProblem
from service.wire.arrow import read_arrow
from tests.service.conftest import ITEMS, Client
from tests.service.wire.bodies import ARROW, JSON, post, read, stream, written

IDS = pa.array(["i1", "i2"])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_ids_are_text_of_any_kind(kind: pa.DataType) -> None:
    assert read_arrow(stream(pa.record_batch([IDS.cast(kind)], ["item_id"]))).item_ids == ["i1", "i2"]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.int64(), pa.uint64()], ids=str)
def test_ids_are_integers_of_any_width(kind: pa.DataType) -> None:
    assert read_arrow(stream(pa.record_batch([pa.array([7, 0], kind)], ["item_id"]))).item_ids == [7, 0]


def test_a_column_is_a_feature_and_its_null_the_default(client: Client) -> None:
    columns = {
        "item_id": ["i1", "i2", "i3"],
        "price": np.array([1.5, -2, 0.25], np.float32),
        "category": pa.array(["v", None, "z"], pa.large_string()),
        "brand": pa.nulls(3),
        "affinity": pa.array([True, False, None]),
    }
    rows: list[dict[str, Any]] = [
        {"price": 1.5, "category": "v", "brand": None, "affinity": True},
        {"price": -2, "category": None, "brand": None, "affinity": False},
        {"price": 0.25, "category": "z", "brand": None, "affinity": None},
    ]
    items = [{"id": i, "features": row} for i, row in zip(columns["item_id"], rows, strict=True)]
    wanted = read(post(client, written({"items": items, "request_id": "r"}, JSON), JSON))
    got = read(post(client, stream(pa.record_batch(columns), {"request_id": "r"}), ARROW))
    assert got[0] == wanted[0]
    for task, column in wanted[1].items():
        np.testing.assert_array_equal(got[1][task], column)


def test_another_library_writes_and_reads_it(client: Client, tmp_path: Any) -> None:
    path = tmp_path / "candidates"
    pl.DataFrame({"item_id": list(ITEMS), "price": [n / 3 for n in range(len(ITEMS))]}).write_ipc_stream(path)
    response = post(client, path.read_bytes(), ARROW, ARROW)
    assert response.status_code == 200, response.text
    path.write_bytes(response.content)
    frame = pl.read_ipc_stream(path)
    assert frame.columns == ["item_id", "ctr", "ctcvr", "cvr"]
    assert frame["item_id"].to_list() == list(ITEMS)
    assert frame["ctr"].dtype == pl.Float32


def _named(column: pa.Array, name: str = "price") -> pa.RecordBatch:
    return pa.record_batch([IDS, column], ["item_id", name])


def _only(column: Any, name: str = "item_id") -> bytes:
    return stream(pa.record_batch([pa.array(column)], [name]))


PLAIN = pa.record_batch([IDS], ["item_id"])
GOOD = stream(PLAIN)
BAD: list[tuple[bytes, int, str]] = [
    (b"", 400, "Invalid Arrow stream"),
    (b"ARROW1\0\0", 400, "Invalid Arrow stream"),
    (b'{"item_ids": ["i1"]}', 400, "Invalid Arrow stream"),
    (b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\0" * 64, 400, "Invalid Arrow stream"),
    (GOOD[:100], 400, "Invalid Arrow stream"),
    (GOOD[:-40], 400, "Invalid Arrow stream"),
    (GOOD[8 + int.from_bytes(GOOD[4:8], "little") :], 400, "a record batch where its schema should be"),
    (2 * GOOD[: 8 + int.from_bytes(GOOD[4:8], "little")], 400, "a schema where its record batch should be"),
    (GOOD.replace(b"item_id", b"item_\xff\xff"), 400, "Invalid Arrow stream"),
    (stream(pa.record_batch([IDS], ["item_id"]).slice(0, 0)), 422, "column 'item_id' has no row"),
    (stream(pa.record_batch([IDS], ["id"])), 422, "columns: one 'item_id'"),
    (stream(pa.record_batch([IDS, IDS], ["item_id", "item_id"])), 422, "columns: one 'item_id'"),
    (stream(pa.record_batch([IDS, IDS, IDS], ["item_id", "brand", "brand"])), 422, "no name twice"),
    (_only(["i1", ""]), 422, "column 'item_id', row 1: an id is a non-empty string or a 64-bit integer"),
    (_only(["i1", None]), 422, "column 'item_id', row 1: an id is"),
    (_only([1.5]), 422, "column 'item_id', row 0: an id is"),
    (_only([True]), 422, "column 'item_id', row 0: an id is"),
    (_only([["i1"]]), 422, "column 'item_id', row 0: an id is"),
    (_only(np.array([2**63], np.uint64)), 422, "column 'item_id', row 0: an id is"),
    (_only(["i"] * 201), 422, "201 candidates; at most 200"),
    (_only(["x" * 257]), 422, "longer than 256 bytes"),
    (_only([b"i1"]), 422, "column 'item_id' is binary"),
    (stream(_named(IDS.dictionary_encode())), 422, "column 'price' is dictionary<"),
    (stream(_named(pa.array([{"a": 1}] * 2))), 422, "column 'price' is struct<"),
    (stream(_named(pa.array([[[1]]] * 2))), 422, "column 'price' is list<"),
    (stream(_named(pa.array([[1], [2]], pa.list_(pa.int8(), 1)))), 422, "column 'price' is fixed_size_list<"),
    (stream(_named(pa.array([1, 2], pa.timestamp("us")))), 422, "column 'price' is timestamp"),
    (stream(_named(IDS)), 422, "items[0].features.price: field 'price' takes a finite number, not 'i1'"),
    (stream(_named(pa.array([1.0, np.nan]))), 422, "items[1].features.price"),
    (stream(_named(pa.array([1, 2]), "prize")), 422, "items[0].features.prize: unknown feature"),
    (stream(_named(pa.array([1, 2]), "x" * 100_000)), 422, "unknown feature"),
    (stream(PLAIN, [1]), 422, "metadata 'twinscore': Input should be an object"),
    (stream(PLAIN, {"item_ids": [1]}), 422, "metadata 'twinscore': item_ids: unknown key"),
    (stream(PLAIN, {"user": {"id": ""}}), 422, "user.id: an id is"),
    (stream(PLAIN.replace_schema_metadata({"twinscore": "{"})), 400, "metadata 'twinscore': Invalid JSON"),
    (stream(PLAIN.replace_schema_metadata({"twinscore": b"\xff"})), 400, "metadata 'twinscore'"),
    (stream(pa.record_batch([pa.array(["a" * 200] * 50)], ["item_id"]), compression="zstd"), 422, "is compressed"),
    (stream(pa.record_batch([pa.array(["a" * 200] * 50)], ["item_id"]), compression="lz4"), 422, "is compressed"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "detail"), BAD, ids=[detail[:40] for *_, detail in BAD])
def test_what_does_not_fit_is_said(client: Client, body: bytes, status: int, detail: str) -> None:
    response = post(client, body, ARROW)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert detail in response.json()["detail"]
    assert len(response.content) < 1000


def test_one_batch_is_all_a_request_has(client: Client) -> None:
    batch = pa.record_batch([IDS], ["item_id"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    response = post(client, bytes(sink.getvalue()), ARROW)
    assert (response.status_code, "several record batches" in response.json()["detail"]) == (422, True)


def test_text_that_is_not_utf8_is_refused() -> None:
    damaged = GOOD.replace(b"i1i2", b"i\xffi2")
    assert damaged != GOOD
    with pytest.raises(ServiceProblem, match="Invalid Arrow stream"):
        read_arrow(damaged)


def test_buffers_that_overlap_are_refused() -> None:
    """One text that a hundred columns share would be a hundred texts once it is read."""
    size, columns = 50_000, 100
    texts = [pa.array(["x" * size]), *[pa.array(["y"])] * (columns - 1)]
    body = bytearray(
        stream(pa.record_batch([pa.array(["i1"]), *texts], ["item_id", *(f"f{n}" for n in range(columns))]))
    )
    assert read_arrow(bytes(body)).items is not None
    # a buffer is described by offset and length; a column has three: validity, offsets, text
    text = next(n for n in range(0, len(body), 8) if body[n + 8 : n + 16] == size.to_bytes(8, "little"))
    for n in range(1, columns):
        body[text - 16 + 48 * n : text + 16 + 48 * n] = body[text - 16 : text + 16]
    with pytest.raises(ServiceProblem, match="more than its length"):
        read_arrow(bytes(body))


def test_rows_without_bytes_are_refused() -> None:
    rows = 100_000
    columns = [pa.array(np.ones(rows, np.int8)), *[pa.nulls(rows)] * 50]
    batch = pa.record_batch(columns, ["item_id", *map(str, range(50))])
    with pytest.raises(ServiceProblem, match="more than its length"):
        read_arrow(stream(batch))


def test_the_reply_is_a_stream_of_one_batch(client: Client) -> None:
    response = post(client, json.dumps({"item_ids": ["i1", "i2"]}).encode(), JSON, ARROW)
    reader = pa.ipc.open_stream(response.content)
    batch = reader.read_next_batch()
    batch.validate(full=True)
    assert batch.schema.field("ctr").type == pa.float32()
    with pytest.raises(StopIteration):
        reader.read_next_batch()
