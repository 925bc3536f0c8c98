"""Columns whose values are of several types, as one type that loses nothing: where texts are needed, canonical ones."""

from collections.abc import Sequence

import polars as pl

from contract.dictionary import Value, canonical
from training.datasets.raw import RawColumn

EXACT = 2**53  # floats hold every integer below it
Cell = Value | list[Value]


def series_of(name: str, values: Sequence[Cell]) -> pl.Series:
    """Values of JSON as a column: of one type, of floats, or else of texts; lists where one is a list."""
    scalars = [value for value in values if not isinstance(value, list)]
    if len(scalars) == len(values):
        dtype = _dtype_of(scalars)
        return pl.Series(name, list(map(canonical, scalars)) if dtype == pl.String else scalars, dtype=dtype)
    lists = [value if isinstance(value, list) else None if canonical(value) is None else [value] for value in values]
    inner = _dtype_of([element for value in lists for element in value or ()])
    if inner == pl.String:
        return pl.Series(name, [value and list(map(canonical, value)) for value in lists], dtype=pl.List(inner))
    return pl.Series(name, lists, dtype=pl.List(inner))


def _dtype_of(values: Sequence[Value]) -> pl.DataType:
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pl.Null()
    if kinds == {bool}:
        return pl.Boolean()
    if kinds == {int} and all(-(2**63) <= int(value or 0) < 2**63 for value in values):
        return pl.Int64()
    if kinds == {float} or (kinds == {int, float} and all(abs(value or 0) < EXACT for value in values)):  # type: ignore[arg-type]
        return pl.Float64()
    return pl.String()


def widest(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    """The type that holds the values of both."""
    if one == other or other == pl.Null:
        return one
    if one == pl.Null:
        return other
    if isinstance(one, pl.List) or isinstance(other, pl.List):
        return pl.List(widest(_inner(one), _inner(other)))
    return pl.Float64() if one.is_numeric() and other.is_numeric() else pl.String()


def _inner(dtype: pl.DataType) -> pl.DataType:
    return pl.Series(dtype=dtype).explode().dtype if isinstance(dtype, pl.List) else dtype


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames of the same columns, one below the other, though a column's type differs between them."""
    if all(frame.schema == frames[0].schema for frame in frames):
        return pl.concat(frames)
    return pl.DataFrame([_stacked([frame[name] for frame in frames]) for name in frames[0].columns])


def _stacked(parts: Sequence[pl.Series]) -> pl.Series:
    dtype = parts[0].dtype
    for part in parts[1:]:
        dtype = widest(dtype, part.dtype)
    if dtype.is_float() and any(_is_inexact(part) for part in parts):
        dtype = pl.String()
    return pl.concat([_as(part, dtype) for part in parts])


def _is_inexact(part: pl.Series) -> bool:
    return part.dtype.is_integer() and bool((part.cast(pl.Int128).abs() >= EXACT).any())


def _as(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """As the wider type; a single value becomes a list of one."""
    if values.dtype == dtype or _inner(values.dtype) == pl.Null:
        return values.cast(dtype)
    if not isinstance(dtype, pl.List):
        return RawColumn(values.name, values).texts().alias(values.name) if dtype == pl.String else values.cast(dtype)
    if not isinstance(values.dtype, pl.List):
        single = _as(values, _inner(dtype))
        missing = single.is_null() | (single == "") if single.dtype == pl.String else single.is_null()
        return single.reshape((-1, 1)).arr.to_list().set(missing, None)
    known, inner = values.explode().unique(), _inner(dtype)
    return values.list.eval(pl.element().replace_strict(known, _as(known, inner), return_dtype=inner)).cast(dtype)
