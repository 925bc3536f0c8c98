"""Packed rows: round trip, defaults for the missing, corruption detected; properties by hypothesis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from contract.dictionary import Dictionary
from contract.rows import layout, scan_pattern
from contract.schema import Field, Schema, Side, Task

SCHEMA = Schema(
    fields=(
        Field(name="age", side=Side.USER, kind="numeric", default=30.0),
        Field(name="city", side=Side.USER, default="Rome"),
        Field(name="history", side=Side.USER, kind="multi", max_length=3),
        Field(name="hour", side=Side.CONTEXT),
    ),
    tasks=(Task(name="ctr", label="click"),),
)
DICTIONARIES = {name: Dictionary.build({"Rome": 2, "Oslo": 1}) for name in ("city", "history", "hour")}
LAYOUT = layout(SCHEMA, DICTIONARIES, Side.USER)

IDS = arrays.arrays(np.int32, (4, 4))
DENSE = arrays.arrays(np.float32, (4, 1), elements=st.floats(width=32, allow_nan=False))


@given(IDS, DENSE)
def test_rows_round_trip(ids: np.ndarray, dense: np.ndarray) -> None:
    rows = LAYOUT.decode(LAYOUT.encode(ids, dense))
    assert (rows.ids == ids).all()
    assert (rows.dense == dense).all()
    assert not rows.missing.any()
    assert rows.corrupt == 0


@given(IDS, DENSE, st.integers(0, 3), st.data())
def test_any_changed_byte_is_detected(ids: np.ndarray, dense: np.ndarray, which: int, data: st.DataObject) -> None:
    packed: list[bytes | None] = list(LAYOUT.encode(ids, dense))
    damaged = bytearray(packed[which] or b"")
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    packed[which] = bytes(damaged)
    rows = LAYOUT.decode(packed)
    assert rows.corrupt == 1
    assert rows.missing.tolist() == [i == which for i in range(4)]


@pytest.mark.parametrize("row", [None, b"", b"short", b"\0" * 1000])
def test_missing_and_misshapen_rows_hold_the_defaults(row: bytes | None) -> None:
    sound = LAYOUT.encode(np.ones((1, 4), np.int32), np.ones((1, 1), np.float32))[0]
    rows = LAYOUT.decode([sound, row])
    assert rows.missing.tolist() == [False, True]
    assert rows.corrupt == (row is not None)
    assert rows.ids[1].tolist() == [1, 0, 0, 0]  # Rome, empty history
    assert rows.dense[1].tolist() == [30.0]


def test_a_row_of_another_schema_is_corrupt_not_wrong() -> None:
    other = SCHEMA.model_copy(update={"fields": (SCHEMA.fields[0], *SCHEMA.fields[2:], SCHEMA.fields[1])})
    row = layout(other, DICTIONARIES, Side.USER).encode(np.ones((1, 4), np.int32), np.ones((1, 1), np.float32))[0]
    assert LAYOUT.decode([row]).corrupt == 1


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        LAYOUT.encode(np.ones((2, 3), np.int32), np.ones((2, 1), np.float32))


def test_a_side_without_fields_has_rows_of_a_check_word_alone() -> None:
    empty = layout(SCHEMA, DICTIONARIES, Side.ITEM)
    rows = empty.decode(empty.encode(np.empty((2, 0), np.int32), np.empty((2, 0), np.float32)))
    assert rows.ids.shape == (2, 0)
    assert not rows.missing.any()


def test_a_scan_pattern_takes_no_sign_of_a_key_for_a_wildcard() -> None:
    assert scan_pattern("a[b]*c?:") == r"a\[b\]\*c\?:*"
    assert scan_pattern("twinscore:1:live") == "twinscore:1:live*"


def test_weights_lie_with_the_numbers_and_have_defaults() -> None:
    fields = (
        Field(name="likes", side=Side.ITEM, kind="multi", max_length=2, weights="w", default="Rome|Oslo"),
        Field(name="price", side=Side.ITEM, kind="numeric", default=7.0),
        Field(name="tags", side=Side.ITEM, kind="multi", max_length=1, weights="w", encoding="hash", buckets=3),
        Field(name="hour", side=Side.CONTEXT, encoding="hour", default="now"),
    )
    schema = Schema(fields=fields, tasks=SCHEMA.tasks)
    shape = layout(schema, {"likes": DICTIONARIES["city"]}, Side.ITEM)
    ids, dense = np.array([[2, 0, 3]], np.int32), np.array([[0.25, 0.0, 1.5, -1.0]], np.float32)
    rows = shape.decode([shape.encode(ids, dense)[0], None])
    assert rows.ids.tolist() == [[2, 0, 3], [1, 2, 0]]
    assert rows.dense.tolist() == [[0.25, 0.0, 1.5, -1.0], [1.0, 1.0, 7.0, 0.0]]
    assert layout(schema, {}, Side.CONTEXT).default_ids.tolist() == [0]  # a clock is read at each request
