"""Raw values → ids and numbers, the same for prepare and the service."""

from typing import Any

import numpy as np
import pytest

from contract.dictionary import Dictionary
from contract.encoding import Raw, encode_columns, encode_field, quantile_ids
from contract.schema import Field, Side

CITY = Dictionary.build({"Rome": 3, "Oslo": 2, "7": 1})


def field(**settings: object) -> Field:
    return Field.model_validate({"name": "f", "side": Side.USER, **settings})


def test_categorical_values_and_their_default() -> None:
    values: list[Raw] = ["Oslo", 7, 7.0, "unseen", None]
    assert encode_field(field(default="Rome"), {"f": CITY}, values)[:, 0].tolist() == [2, 3, 3, 0, 1]
    assert encode_field(field(), {"f": CITY}, [None]).tolist() == [[0]]


def test_multi_values_from_lists_and_text_are_cut_and_padded() -> None:
    multi = field(kind="multi", max_length=2)
    values: list[Raw] = [["Rome", "Oslo", "7"], "Oslo|Rome", "7", [], None]
    assert encode_field(multi, {"f": CITY}, values).tolist() == [[1, 2], [2, 1], [3, 0], [0, 0], [0, 0]]


def test_hashed_values_need_no_dictionary() -> None:
    ids = encode_field(field(encoding="hash", buckets=50), {}, ["a", "b", "a", None])[:, 0].tolist()
    assert ids[0] == ids[2] != ids[1]
    assert ids[3] == 0
    assert all(0 <= i <= 50 for i in ids)


def test_numbers_and_their_default() -> None:
    assert encode_field(field(kind="numeric", default=2.5), {}, [1, None, True, -0.5]).tolist() == [1, 2.5, 1, -0.5]


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"kind": "numeric"}, "3"),
        ({"kind": "numeric"}, float("nan")),
        ({"kind": "numeric"}, float("inf")),
        ({"kind": "numeric"}, 1e300),
        ({}, ["Rome"]),
        ({"kind": "multi", "max_length": 2}, [["Rome"]]),
    ],
)
def test_a_value_of_another_kind_is_refused_by_field_name(settings: dict[str, object], value: Raw) -> None:
    with pytest.raises(ValueError, match="field 'f' takes"):
        encode_field(field(**settings), {"f": CITY}, [value])


WEIGHTED = field(kind="multi", max_length=2, weights="w")


def test_the_heaviest_values_are_kept_with_their_weights() -> None:
    values: list[Any] = [
        {"Rome": 0.5, "7": -1.0, "Oslo": 2.5},
        [["7", 1], ["Rome", 1], ["Rome", 4]],  # equal weights: in the order given
        ["Oslo", "Rome", "7"],  # no weights: 1
        "7|Oslo",
        [["Paris", 9], [None, 8], ["Rome", 7]],  # unseen values take a place too
        {},
        None,
    ]
    ids, weights = encode_columns(WEIGHTED, {"f": CITY}, values)
    assert ids.tolist() == [[2, 1], [1, 3], [2, 1], [3, 2], [0, 0], [0, 0], [0, 0]]
    assert weights.tolist() == [[2.5, 0.5], [4, 1], [1, 1], [1, 1], [9, 8], [0, 0], [0, 0]]
    assert (encode_field(WEIGHTED, {"f": CITY}, values) == ids).all()
    ids, weights = encode_columns(WEIGHTED.model_copy(update={"default": "Oslo"}), {"f": CITY}, [None])
    assert (ids.tolist(), weights.tolist()) == ([[2, 0]], [[1, 0]])


@pytest.mark.parametrize(
    "value",
    [{"Rome": "1"}, {"Rome": None}, {"Rome": float("inf")}, [["Rome", 1], "Oslo"], [["Rome"]], [[["Rome"], 1]], [{}]],
)
def test_weights_that_are_none_are_refused_by_field_name(value: Any) -> None:
    with pytest.raises(ValueError, match="field 'f' takes"):
        encode_columns(WEIGHTED, {"f": CITY}, [value])


def test_quantiles_count_the_edges_not_above() -> None:
    of_price = field(encoding="quantile", buckets=4, edges=(0.0, 0.1, 5.0))
    values: list[Raw] = [-1, 0, 0.05, 0.1, 4.99, 5, 1e30, None]
    assert encode_field(of_price, {}, values)[:, 0].tolist() == [1, 2, 2, 3, 3, 4, 4, 0]
    assert encode_field(of_price.model_copy(update={"default": 3.0}), {}, [None]).tolist() == [[3]]
    assert quantile_ids(of_price, np.array([np.float32(0.1), np.nan])).tolist() == [3, 0]  # as stored in Parquet
    with pytest.raises(ValueError, match="field 'f' takes a finite number, not 'cheap'"):
        encode_field(of_price, {}, ["cheap"])


def test_hours_and_weekdays_with_and_without_a_zone() -> None:
    values: list[Raw] = ["2026-01-31T23:30Z", 1_769_902_200, None]  # a Saturday
    assert encode_field(field(encoding="hour"), {}, values)[:, 0].tolist() == [24, 24, 0]
    assert encode_field(field(encoding="weekday"), {}, values)[:, 0].tolist() == [6, 6, 0]
    rome = field(encoding="weekday", timezone="Europe/Rome", default="2026-02-02")
    assert encode_field(rome, {}, values)[:, 0].tolist() == [7, 7, 1]
    with pytest.raises(ValueError, match="field 'f' takes a time, now, ISO 8601"):
        encode_field(rome, {}, ["31/01/2026"])


def test_now_is_the_clock_where_there_is_one() -> None:
    clock = field(side="context", encoding="hour", default="now")
    assert encode_field(clock, {}, [None, "now", 0], now=3_599.5 + 7 * 3600)[:, 0].tolist() == [8, 8, 1]
    assert encode_field(clock, {}, [None, "now", 0])[:, 0].tolist() == [0, 0, 1]


def test_a_cross_is_not_sent() -> None:
    cross = field(side="cross", cross=("a", "b"), encoding="hash", buckets=5)
    assert encode_field(cross, {}, [None]).tolist() == [[0]]
    with pytest.raises(ValueError, match="field 'f' is computed; send a and b instead"):
        encode_field(cross, {}, ["x"])


@pytest.mark.parametrize(
    "settings", [{}, {"kind": "numeric"}, {"kind": "multi", "max_length": 3}, {"encoding": "hour"}]
)
def test_columns_are_as_wide_as_the_field_says(settings: dict[str, object]) -> None:
    some = field(**settings)
    ids, dense = encode_columns(some, {"f": CITY}, [None, None])
    assert (ids.shape, dense.shape) == ((2, some.slots), (2, some.numbers))
    assert ids.dtype == np.int32
    assert dense.dtype == np.float32
