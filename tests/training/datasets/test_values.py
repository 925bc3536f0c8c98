"""Vectorised encoding equals contract.encoding, value by value; counts are of what is encoded."""

import re
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dictionary import Dictionary
from contract.encoding import encode_columns, encode_field, quantile_ids
from contract.errors import DataError
from contract.schema import Encoding, Field, Kind, Side
from tests.training.datasets.shop import PATIENT
from training.datasets.raw import RawColumn
from training.datasets.values import calendar_ids, coded, numbers, quantities, transformed

TEXTS = st.lists(st.none() | st.text(alphabet="ab|7", max_size=6), min_size=1, max_size=20)
WORDS = st.lists(st.none() | st.text(alphabet="ab", max_size=2), max_size=5)
DEFAULTS = st.none() | st.sampled_from(["a", "b|a", "zz", "7"])


def column(values: list[object], dtype: pl.DataType | type[pl.DataType] = pl.String) -> RawColumn:
    return RawColumn("f: column 'x'", pl.Series(values, dtype=dtype))


@pytest.mark.parametrize("encoding", [Encoding.DICTIONARY, Encoding.HASH])
@pytest.mark.parametrize("kind", [Kind.CATEGORICAL, Kind.MULTI])
@PATIENT
@given(values=TEXTS, default=DEFAULTS)
def test_texts_encode_as_the_service_does(
    kind: Kind, encoding: Encoding, values: list[str | None], default: str | None
) -> None:
    field = id_field(kind, encoding, default)
    known = {"x": Dictionary.build({"a": 3, "b": 2, "b|a": 1, "7": 1})}
    expected = encode_field(field, known, [value or None for value in values])  # an empty cell is a missing one
    assert (coded(field, column(list(values))).ids(field, known["x"]) == expected).all()


@PATIENT
@given(values=st.lists(st.none() | WORDS, min_size=1, max_size=10), default=DEFAULTS)
def test_lists_encode_as_the_service_does(values: list[list[str | None] | None], default: str | None) -> None:
    field = id_field(Kind.MULTI, Encoding.DICTIONARY, default)
    known = {"x": Dictionary.build({"a": 3, "b": 2, "ab": 1})}
    column_ = column(list(values), pl.List(pl.String))
    assert (coded(field, column_).ids(field, known["x"]) == encode_field(field, known, values)).all()


def test_numbers_in_lists_are_texts_and_arrays_are_lists() -> None:
    field = id_field(Kind.MULTI, Encoding.DICTIONARY, None)
    known = Dictionary.build({"7": 2, "8": 1})
    for dtype in (pl.List(pl.Int64), pl.Array(pl.Float64, 2)):
        ids = coded(field, column([[7, 8], [8, 8], None], dtype)).ids(field, known)
        assert ids.tolist() == [[1, 2, 0], [2, 2, 0], [0, 0, 0]]


def test_nested_lists_are_refused() -> None:
    with pytest.raises(DataError, match="holds lists of List"):
        coded(id_field(Kind.MULTI, Encoding.DICTIONARY, None), column([[["a"]]], pl.List(pl.List(pl.String))))


@PATIENT
@given(st.lists(st.none() | st.floats(-1e30, 1e30), min_size=1, max_size=20), st.none() | st.floats(-9, 9))
def test_numbers_encode_as_the_service_does(values: list[float | None], default: float | None) -> None:
    field = Field(name="x", side=Side.USER, kind=Kind.NUMERIC, default=default)
    assert (numbers(field, column(list(values), pl.Float64)) == encode_field(field, {}, values)).all()
    texts = [None if value is None else repr(value) for value in values]
    assert (numbers(field, column(list(texts))) == encode_field(field, {}, values)).all()


def test_logarithm_is_odd() -> None:
    field = Field(name="x", side=Side.USER, kind=Kind.NUMERIC, transform="log1p")
    values = transformed(field, np.array([-3.0, 0.0, 3.0], np.float32))
    assert values == pytest.approx([-np.log(4), 0, np.log(4)])


def id_field(kind: Kind, encoding: Encoding, default: str | None) -> Field:
    return Field(
        name="x",
        side=Side.USER,
        kind=kind,
        encoding=encoding,
        buckets=50 if encoding is Encoding.HASH else None,
        max_length=3 if kind is Kind.MULTI else None,
        default=default,
    )


NUMBERS = st.lists(st.none() | st.floats(-1e30, 1e30) | st.sampled_from([0.0, -0.0, 1.5, 2.0]), min_size=1, max_size=20)


@PATIENT
@given(NUMBERS, st.none() | st.sampled_from([-9.0, 1.5, 3.0]), st.sampled_from([(), (0.0,), (-1.0, 1.5, 2.0)]))
def test_quantiles_encode_as_the_service_does(
    values: list[float | None], default: float | None, edges: tuple[float, ...]
) -> None:
    field = Field(name="x", side=Side.USER, encoding=Encoding.QUANTILE, buckets=4, default=default, edges=edges)
    expected = encode_field(field, {}, values)[:, 0]
    assert quantile_ids(field, quantities(field, column(list(values), pl.Float64))).tolist() == expected.tolist()


@pytest.mark.parametrize("value", ["nan", "", None, " "])
def test_a_missing_quantity_is_id_0(value: str | None) -> None:
    field = Field(name="x", side=Side.USER, encoding=Encoding.QUANTILE, buckets=4, edges=(1.0,))
    assert quantile_ids(field, quantities(field, column([value, "0", "1"]))).tolist() == [0, 1, 2]


MOMENTS = st.one_of(
    st.none(),
    st.integers(-(10**9), 4 * 10**9),
    st.integers(10**11, 4 * 10**12),  # milliseconds
    st.integers(10**14, 4 * 10**15),  # microseconds
    st.floats(-1e9, 4e9),
)
ZONES = st.sampled_from([None, "UTC", "Europe/Rome", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"])
TIMED = st.sampled_from([Encoding.HOUR, Encoding.WEEKDAY])
STAND_INS = st.sampled_from([None, "2026-03-29T01:30:00Z", 1.75e12])


@PATIENT
@given(st.lists(MOMENTS, min_size=1, max_size=20), TIMED, ZONES, STAND_INS)
def test_epoch_times_encode_as_the_service_does(
    values: list[float | None], encoding: Encoding, timezone: str | None, default: str | float | None
) -> None:
    field = Field(name="x", side=Side.CONTEXT, encoding=encoding, timezone=timezone, default=default)
    expected = encode_field(field, {}, values)[:, 0].tolist()
    assert calendar_ids(field, column(list(values), pl.Float64)).tolist() == expected
    texts = [None if value is None else f"{value:f}" for value in values]
    assert calendar_ids(field, column(list(texts))).tolist() == encode_field(field, {}, texts)[:, 0].tolist()


CLOCKS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))
WRITTEN = st.sampled_from(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"])
OFFSETS = st.sampled_from(["", "Z", "+05:30", "-0330", " -08"])


@PATIENT
@given(st.lists(st.tuples(CLOCKS, WRITTEN, OFFSETS), min_size=1, max_size=20), TIMED, ZONES, st.booleans())
def test_iso_times_encode_as_the_service_does(
    values: list[tuple[datetime, str, str]], encoding: Encoding, timezone: str | None, mixed: bool
) -> None:
    field = Field(name="x", side=Side.CONTEXT, encoding=encoding, timezone=timezone)
    texts = [clock.strftime(form) + offset for clock, form, offset in values]
    texts += ["1767225600", "1767225600123.5"] if mixed else []
    expected = encode_field(field, {}, texts)[:, 0].tolist()
    assert calendar_ids(field, column(list(texts))).tolist() == expected


def test_clocks_are_put_forward_and_back() -> None:
    field = Field(name="x", side=Side.CONTEXT, encoding=Encoding.HOUR, timezone="Europe/Rome")
    texts: list[object] = [f"2026-{day}T{hour}:59:59Z" for day in ("03-29", "10-25") for hour in ("00", "01", "02")]
    assert calendar_ids(field, column(texts)).tolist() == [1 + hour for hour in (1, 3, 4, 2, 2, 3)]
    dates = pl.Series(texts).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms")
    assert calendar_ids(field, RawColumn("f: column 'x'", dates)).tolist() == [2, 4, 5, 3, 3, 4]


def test_now_is_nothing_that_the_past_knows() -> None:
    field = Field(name="x", side=Side.CONTEXT, encoding=Encoding.WEEKDAY, default="now")
    assert calendar_ids(field, column([None, "", "1970-01-01"])).tolist() == [0, 0, 4]


@pytest.mark.parametrize("value", ["inf", "noon", "9e17", "-9e17", "2026-02-30", "29/03/2026"])
def test_what_is_no_time_is_refused(value: str) -> None:
    field = Field(name="x", side=Side.CONTEXT, encoding=Encoding.HOUR, timezone="Europe/Rome")
    with pytest.raises(DataError, match=f"f: column 'x', row 2: '{value}' is not a time"):
        calendar_ids(field, column(["2026-01-01", value, "1767225600"]))


WEIGHED = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "zz", "7"]), st.sampled_from([0.5, 1.0, -1.0, 2.5, 0.0])))


def paired(row: list[tuple[str, float]] | None) -> list[Sequence[str | float]] | None:
    return None if row is None else [list(pair) for pair in row]


def weighted(default: str | None = None) -> Field:
    return Field(name="x", side=Side.USER, kind=Kind.MULTI, max_length=3, weights="w", default=default)


@PATIENT
@given(st.lists(st.none() | WEIGHED, min_size=1, max_size=8), DEFAULTS)
def test_weighted_lists_encode_as_the_service_does(
    values: list[list[tuple[str, float]] | None], default: str | None
) -> None:
    field, known = weighted(default), {"x": Dictionary.build({"a": 3, "b": 2, "7": 1})}
    expected = encode_columns(field, known, [paired(row) for row in values])
    words = [None if row is None else [word for word, _ in row] for row in values]
    loads = [None if row is None else [load for _, load in row] for row in values]
    found = coded(field, column(list(words), pl.List(pl.String)), column(list(loads), pl.List(pl.Float64)))
    assert found.ids(field, known["x"]).tolist() == expected.ids.tolist()
    assert found.weights is not None
    assert found.weights.tolist() == expected.dense.tolist()
    filled = [row or None for row in values]  # a text cannot say an empty list
    expected = encode_columns(field, known, [paired(row) for row in filled])
    texts = [row and "|".join(row) for row in words], [row and "|".join(map(str, row)) for row in loads]
    found = coded(field, column([text or None for text in texts[0]]), column([text or None for text in texts[1]]))
    assert found.ids(field, known["x"]).tolist() == expected.ids.tolist()


def test_values_without_weights_weigh_one() -> None:
    found = coded(weighted(), column(["a|b|c|a", None, "a"]), column([None, None, ""]))
    assert found.codes.tolist() == [[1, 2, 3], [0, 0, 0], [1, 0, 0]]
    assert found.weights is not None
    assert found.weights.tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("words", "loads", "message"),
    [
        ("a|b", "1", "row 1: '1' is not one weight for each value"),
        (None, "1", "row 1: '1' is not one weight for each value"),
        ("a|b", "1|", "row 1: '1|' holds a weight that is no finite number"),
        ("a|b", "1|inf", "row 1: '1|inf' holds a weight that is no finite number"),
        (["a"], [1.0, 2.0], "row 1: [1.0, 2.0] is not one weight for each value"),
        (["a"], [None], "row 1: [None] holds a weight that is no finite number"),
        (["a"], [1e39], "row 1: [1e+39] holds a weight that is no finite number"),
    ],
)
def test_wrong_weights_are_refused(words: object, loads: object, message: str) -> None:
    given_ = [
        column([value], pl.List(type_) if isinstance(value, list) else pl.String)
        for value, type_ in ((words, pl.String), (loads, pl.Float64))
    ]
    with pytest.raises(DataError, match=f"^f: column 'x', {re.escape(message)}$"):
        coded(weighted(), *given_)
