"""Raw columns → codes of distinct values → ids, or numbers: vectorised, equal to contract.encoding.encode_field."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.dictionary import Dictionary, canonical, hash_ids
from contract.errors import DataError
from contract.schema import Encoding, Field, Kind
from training.datasets.raw import RawColumn, factorize


@dataclass(frozen=True)
class Coded:
    """The values of an id field, each distinct one once."""

    distinct: pl.Series  # texts
    codes: NDArray[np.int32]  # [rows, slots]: 1 + place in `distinct`; 0 where missing

    def counts(self, weights: NDArray[np.int64]) -> dict[str, int]:
        """How often each value occurs, a row counting as often as its weight says."""
        repeated = np.repeat(weights, self.codes.shape[1])
        totals = np.bincount(self.codes.ravel(), repeated, len(self.distinct) + 1).astype(np.int64)[1:]
        return dict(zip(self.distinct.to_list(), totals.tolist(), strict=True))

    def ids(self, field: Field, dictionary: Dictionary | None) -> NDArray[np.int32]:
        """Ids [rows, slots]."""
        values = self.distinct.to_list()
        if field.encoding is Encoding.HASH and field.buckets is not None:
            known = hash_ids(values, field.buckets)
        elif dictionary is not None:
            known = dictionary.encode(values)
        else:
            raise ValueError(f"field '{field.name}' needs its dictionary")
        table = np.concatenate([np.zeros(1, np.int32), known])
        return table[self.codes]


def coded(field: Field, column: RawColumn) -> Coded:
    """Distinct values and codes of a categorical or multi field; missing values take the field's default."""
    default = canonical(field.default)
    if field.kind is Kind.MULTI and isinstance(column.values.dtype, pl.List | pl.Array):
        return _coded_lists(field, column.values.cast(pl.List(column.values.dtype.inner)), column.where)
    texts = column.texts()
    distinct, codes = factorize(texts.fill_null(default) if default is not None else texts)
    if field.kind is Kind.CATEGORICAL:
        return Coded(distinct, codes[:, None])
    once = _coded_lists(field, distinct.str.split(field.separator), column.where)
    missing = np.zeros((1, field.slots), np.int32)
    return Coded(once.distinct, np.vstack([missing, once.codes])[codes])


def numbers(field: Field, column: RawColumn) -> NDArray[np.float32]:
    """Numbers [rows] of a numeric field; missing values take the field's default, or 0."""
    values = column.numbers()
    return values.fill_null(float(field.default or 0)).to_numpy().astype(np.float32)


def transformed(field: Field, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the model standardises: the number itself, or its log1p, odd about 0."""
    exact = values.astype(np.float64)
    return np.sign(exact) * np.log1p(np.abs(exact)) if field.transform == "log1p" else exact


def _coded_lists(field: Field, lists: pl.Series, where: str) -> Coded:
    if (default := canonical(field.default)) is not None:
        stand_in = pl.Series([default.split(field.separator)]).cast(lists.dtype, strict=False)
        places = np.where(lists.is_null(), len(lists), np.arange(len(lists)))
        lists = pl.concat([lists, stand_in.alias(lists.name)]).gather(places)
    lists = lists.list.head(field.slots)
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    elements = lists.filter(pl.Series(lengths > 0)).explode()
    try:
        distinct, codes = factorize(RawColumn(where, elements).texts())
    except DataError:
        raise DataError(f"{where}: holds lists of {elements.dtype}; lists of texts or numbers are needed") from None
    owner = np.repeat(np.arange(len(lists)), lengths)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    matrix = np.zeros((len(lists), field.slots), np.int32)
    matrix[owner, place] = codes
    return Coded(distinct, matrix)
