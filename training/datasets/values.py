"""Raw columns → codes of distinct values, ids or numbers: vectorised, equal to contract.encoding.encode_field."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.dictionary import Dictionary, canonical, hash_texts
from contract.encoding import heaviest, time_ids
from contract.errors import DataError
from contract.field import NOW
from contract.moments import epoch_seconds
from contract.schema import Encoding, Field, Kind
from training.datasets.raw import RawColumn, factorize
from training.datasets.texts import packed


@dataclass(frozen=True)
class Coded:
    """The values of an id field, each distinct one once; `weights` of a weighted field's slots, [rows, slots]."""

    distinct: pl.Series  # texts
    codes: NDArray[np.int32]  # [rows, slots]: 1 + place in `distinct`; 0 where missing
    weights: NDArray[np.float32] | None = None

    def ids(self, field: Field, dictionary: Dictionary | None) -> NDArray[np.int32]:
        """Ids [rows, slots]."""
        return np.concatenate([np.zeros(1, np.int32), ids_of(field, self.distinct, dictionary)])[self.codes]


def ids_of(field: Field, distinct: pl.Series, dictionary: Dictionary | None) -> NDArray[np.int32]:
    """Ids of texts, [n]."""
    if field.encoding is Encoding.HASH and field.buckets is not None:
        return hash_texts(packed(distinct), field.buckets)
    if dictionary is None:
        raise ValueError(f"field '{field.name}' needs its dictionary")
    return dictionary.encode_texts(packed(distinct))


def coded(field: Field, column: RawColumn, weights: RawColumn | None = None) -> Coded:
    """Distinct values and codes of a categorical or multi field; missing values take the field's default."""
    default = canonical(field.default)
    if weights is not None:
        return _weighted(field, column, weights)
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


def quantities(field: Field, column: RawColumn) -> NDArray[np.float32]:
    """Numbers [rows] that quantiles are taken of; NaN where missing."""
    values = column.numbers()
    filled = values if field.default is None else values.fill_null(float(field.default))
    return filled.fill_null(float("nan")).to_numpy().astype(np.float32)


def calendar_ids(field: Field, column: RawColumn) -> NDArray[np.int32]:
    """1 + hour, or 1 + weekday from Monday, in the field's time zone, [rows]; 0 where missing."""
    seconds = column.instants().to_physical() // 1_000_000
    if field.default is not None and field.default != NOW:  # nobody knows the now of the past
        seconds = seconds.fill_null(epoch_seconds(field.default))
    return time_ids(field, seconds.cast(pl.Float64).fill_null(float("nan")).to_numpy())


def transformed(field: Field, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the model standardises: the number itself, or its log1p, odd about 0."""
    exact = values.astype(np.float64)
    return np.sign(exact) * np.log1p(np.abs(exact)) if field.transform == "log1p" else exact


def _coded_lists(field: Field, lists: pl.Series, where: str) -> Coded:
    lists = _filled(field, lists).list.head(field.slots)
    distinct, codes, owner = _elements(lists, where)
    matrix = np.zeros((len(lists), field.slots), np.int32)
    matrix[owner, _places(owner, len(lists))] = codes
    return Coded(distinct, matrix)


def _weighted(field: Field, column: RawColumn, weights: RawColumn) -> Coded:
    """The heaviest elements of each list, as many as the field has slots, the first ones where weights are equal."""
    lists, loads = _filled(field, _lists(field, column)), _loads(field, weights)
    lengths = lists.list.len().fill_null(0)
    plain = loads.is_null() & (lengths > 0)  # a default, or weights that were left out
    weights.refuse((lengths != loads.list.len()).fill_null(False) & ~plain, "{} is not one weight for each value")
    ok = ((lengths == loads.list.len()) | plain).fill_null(False)
    lists = lists.set(~ok, None)
    distinct, codes, owner = _elements(lists, column.where)
    load = np.ones(len(owner), np.float32)
    load[~plain.to_numpy()[owner]] = loads.filter(ok & ~plain & (lengths > 0)).explode().to_numpy()
    kept, place = heaviest(owner, load, field.slots)
    matrix, mass = np.zeros((len(lists), field.slots), np.int32), np.zeros((len(lists), field.slots), np.float32)
    matrix[owner[kept], place] = codes[kept]
    mass[owner[kept], place] = load[kept]
    return Coded(distinct, matrix, mass)


def _lists(field: Field, column: RawColumn) -> pl.Series:
    if isinstance(column.values.dtype, pl.List | pl.Array):
        return column.values.cast(pl.List(column.values.dtype.inner))
    return column.texts().str.split(field.separator)


def _loads(field: Field, column: RawColumn) -> pl.Series:
    """Lists of Float32, [rows]; null where there are none."""
    lists = _lists(field, column)
    loads = lists.list.eval(pl.element().cast(pl.Float32, strict=False))
    wrong = loads.list.eval(~pl.element().is_finite().fill_null(False)).list.any().fill_null(False)
    column.refuse(wrong & (lists.list.len() > 0), "{} holds a weight that is no finite number")
    return loads.set(wrong, None)


def _filled(field: Field, lists: pl.Series) -> pl.Series:
    """The default where a list is missing."""
    if (default := canonical(field.default)) is None:
        return lists
    stand_in = pl.Series([default.split(field.separator)]).cast(lists.dtype, strict=False)
    places = np.where(lists.is_null(), len(lists), np.arange(len(lists)))
    return pl.concat([lists, stand_in.alias(lists.name)]).gather(places)


def _elements(lists: pl.Series, where: str) -> tuple[pl.Series, NDArray[np.int32], NDArray[np.int64]]:
    """Distinct elements, the code of each element, and the row that it is of."""
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    elements = lists.filter(pl.Series(lengths > 0)).explode()
    if elements.dtype.is_nested():
        raise DataError(f"{where}: holds lists of {elements.dtype}; lists of texts or numbers are needed")
    try:
        distinct, codes = factorize(RawColumn(where, elements).texts())
    except DataError:
        raise DataError(f"{where}: holds lists of {elements.dtype}; lists of texts or numbers are needed") from None
    return distinct, codes, np.repeat(np.arange(len(lists)), lengths)


def _places(owner: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """The place of each element in its list; `owner` ascends."""
    lengths = np.bincount(owner, minlength=rows)
    return np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
