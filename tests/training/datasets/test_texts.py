"""Packed texts are the keys of their values, one by one."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.dictionary import Dictionary, hash_ids, hash_texts, key_bytes
from training.datasets import texts
from training.datasets.texts import packed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=140)
LONG = st.integers(120, 140).map("x".__mul__) | st.integers(60, 70).map("ü".__mul__)


@settings(deadline=None)
@given(st.lists(st.none() | TEXT | LONG, max_size=40))
def test_packed_is_the_key_of_every_value(values: list[str | None]) -> None:
    keys = packed(pl.Series(values, dtype=pl.String))
    bounds = zip(keys.offsets[:-1], keys.offsets[1:], strict=True)
    assert [keys.data[start:stop].tobytes() for start, stop in bounds] == [key_bytes(value) for value in values]
    assert keys.offsets[0] == 0
    assert keys.offsets[-1] == len(keys.data)


@settings(deadline=None)
@given(st.lists(st.none() | TEXT | LONG, max_size=40), st.lists(TEXT | LONG, max_size=20))
def test_ids_are_those_of_the_values_one_by_one(values: list[str | None], known: list[str]) -> None:
    dictionary = Dictionary.build(dict.fromkeys(known, 1))
    keys = packed(pl.Series(values, dtype=pl.String))
    assert dictionary.encode_texts(keys).tolist() == dictionary.encode(values).tolist()
    assert hash_texts(keys, 1000).tolist() == hash_ids(values, 1000).tolist()


def test_blocks_are_laid_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pl.Series(["a", None, "bcd", "", "é" * 100, "e", "ü"])
    whole = packed(values)
    monkeypatch.setattr(texts, "_BLOCK", 2)
    assert packed(values).data.tobytes() == whole.data.tobytes()


def test_a_slice_of_a_column_is_packed_alone() -> None:
    assert packed(pl.Series(["a" * 20, "b" * 20, "c"])[1:]).data.tobytes() == b"b" * 20 + b"c"
