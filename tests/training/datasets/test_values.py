"""Vectorised encoding equals contract.encoding, value by value; counts are of what is encoded."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dictionary import Dictionary
from contract.encoding import encode_field
from contract.errors import DataError
from contract.schema import Encoding, Field, Kind, Side
from tests.training.datasets.shop import PATIENT
from training.datasets.raw import RawColumn
from training.datasets.values import coded, numbers, transformed

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
