"""Raw tables: text stays text, and every unsound value is named with its row."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dictionary import Value, canonical
from contract.errors import DataError
from tests.training.datasets.shop import PATIENT
from training.datasets.raw import RawColumn, RawTable, factorize

SCALARS: dict[type[pl.DataType], st.SearchStrategy[Value]] = {
    pl.String: st.text(max_size=5),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.Float64: st.floats(allow_infinity=False),
    pl.Boolean: st.booleans(),
}


def column(values: list[object], dtype: pl.DataType | type[pl.DataType] | None = None) -> RawColumn:
    return RawColumn("f.csv: column 'x'", pl.Series(values, dtype=dtype, strict=False))


@pytest.mark.parametrize("dtype", SCALARS)
@PATIENT
@given(st.data())
def test_texts_are_canonical(dtype: type[pl.DataType], data: st.DataObject) -> None:
    values: list[Value] = data.draw(st.lists(st.none() | SCALARS[dtype], max_size=20))
    assert column(list(values), dtype).texts().to_list() == [canonical(value) for value in values]


def test_numbers_and_texts_of_one_value_agree() -> None:
    assert column([42]).texts()[0] == column([42.0]).texts()[0] == column(["42"]).texts()[0] == "42"
    assert column(["007"]).texts()[0] == "007"


@PATIENT
@given(st.lists(st.none() | st.text(max_size=2), max_size=30))
def test_factors_give_the_values_back(values: list[str | None]) -> None:
    distinct, codes = factorize(pl.Series(values, dtype=pl.String))
    assert [None, *distinct][0] is None
    assert [[None, *distinct][code] for code in codes] == values
    assert distinct.to_list() == list(dict.fromkeys(value for value in values if value is not None))


def test_numbers_say_which_row_is_none() -> None:
    assert column(["1.5", " 2 ", "", None, "nan"]).numbers().to_list() == [1.5, 2.0, None, None, None]
    with pytest.raises(DataError, match=r"column 'x', row 2: 'abc' is not a number"):
        column(["1", "abc", "x"]).numbers()
    with pytest.raises(DataError, match="row 1: inf is too large"):
        column([float("inf")]).numbers()
    with pytest.raises(DataError, match="row 2: '1e39' is too large"):
        column(["0", "1e39"]).numbers()


def test_times_of_all_kinds_sort_as_they_are() -> None:
    texts = ["2026-01-02", "2026-01-01 23:59:59.5", "2026-01-02T01:00:00+02:00", "2026-01-02T00:00:01Z"]
    assert np.argsort(column(list(texts)).moments()).tolist() == [2, 1, 0, 3]
    assert np.argsort(column(["10.5", "9", "10"]).moments()).tolist() == [1, 2, 0]
    same = ["2026-01-02T00:00", "2026-01-01 22:30-0130", "2026-01-02 05:00:00.000 +05", "2026-01-02"]
    assert len(set(column(list(same)).moments().tolist())) == 1
    days = column(list(texts[:1])).values.str.to_date()
    assert len(RawColumn("d", days).moments()) == 1


@pytest.mark.parametrize("bad", ["soon", "", "01/02/2026", "2026-13-01", None])
def test_what_is_no_time_is_named(bad: str | None) -> None:
    with pytest.raises(DataError, match=r"row 2: .* is not a time"):
        column(["2026-01-01", bad]).moments()


def test_a_list_is_no_single_value() -> None:
    with pytest.raises(DataError, match="row 2: \\['a', 'b'\\] is a list; one text or number a row is needed"):
        column([["a"], ["a", "b"]]).texts()
    with pytest.raises(DataError, match="holds List"):
        column([[["a"]]]).texts()
    with pytest.raises(DataError, match="'a' is not a number"):
        column([["a"]]).numbers()
    assert column([["a"], None, []]).texts().to_list() == ["a", None, None]  # one odd row of JSON makes lists of all


def test_a_missing_column_is_named_with_those_there() -> None:
    table = table_of({"a": ["1"], "b": ["2"]})
    with pytest.raises(DataError, match=r"t: no column 'c' \(label\); it has: a, b"):
        table.column("c", "label")


def table_of(columns: dict[str, list[str]]) -> RawTable:
    return RawTable.of("t", pl.DataFrame(columns))
