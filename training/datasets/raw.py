"""Raw tables as columns: CSV cells as text, Parquet cells as typed. Every error names file, column and row.

Rows are counted from 1, the header left out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.dictionary import canonical
from contract.errors import DataError
from contract.schema import Schema
from training.datasets.partitions import Held, Partition, Table
from training.datasets.ranks import ordered

_ISO = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?))? ?(Z|[+-]\d{2}(?::?\d{2})?)?$"
_LARGEST = float(np.finfo(np.float32).max)
_YEARS = -62_135_596_800e6, 253_402_300_800e6 - 1  # microseconds: 1 to 9999


@dataclass(frozen=True)
class Place:
    """Where the rows of a column stand in their file, and those found bad; `refused` None: the first one raises."""

    rows: NDArray[np.int64]  # counted from 1
    lines: NDArray[np.int64] | None = None
    refused: dict[int, str] | None = None  # by place in the column: why

    def name(self, index: int) -> str:
        """The row for a message."""
        line = "" if self.lines is None else f" (line {self.lines[index]})"
        return f"row {self.rows[index]}{line}"


@dataclass(frozen=True)
class RawColumn:
    """One column of a raw table, and where it was read; `place` None: the whole table."""

    where: str
    values: pl.Series
    place: Place | None = None

    def refuse(self, bad: pl.Series, what: str) -> None:
        """Refuse the rows where `bad` is true; `{}` in `what` becomes the row's value.

        DataError for the first one, unless bad rows are noted to be skipped.
        """
        if (first := bad.arg_max()) is None or not bad[first]:
            return
        refused = None if self.place is None else self.place.refused
        if refused is None:
            row = f"row {first + 1}" if self.place is None else self.place.name(first)
            raise DataError(f"{self.where}, {row}: {self._said(first, what)}")
        for index in bad.arg_true().to_list():
            refused.setdefault(index, f"{self.where}: {self._said(index, what)}")

    def _said(self, index: int, what: str) -> str:
        cell = self.values[index]
        value = repr(cell.to_list() if isinstance(cell, pl.Series) else cell)
        return what.format(value if len(value) < 60 else value[:57] + "…")

    def texts(self) -> pl.Series:
        """The canonical text of each value; null where missing."""
        if isinstance(self.values.dtype, pl.List | pl.Array):
            return self._only().texts()
        kind = self.values.dtype
        if kind.is_float():
            distinct, codes = factorize(self.values.fill_nan(None))
            known = [None, *(canonical(value) for value in distinct.to_list())]
            return pl.Series(known, dtype=pl.String).gather(codes)
        if kind.is_nested() or kind in (pl.Binary, pl.Object, pl.Decimal):
            raise DataError(f"{self.where}: holds {kind} values; one text or number a row is needed")
        texts = self.values.cast(pl.String)
        return texts.set(texts == "", None)

    def numbers(self) -> pl.Series:
        """Each value as Float64; null where missing, DataError where it is not a number that float32 holds."""
        values = self.values
        if isinstance(values.dtype, pl.List | pl.Array):
            return self._only().numbers()
        if values.dtype == pl.String:
            values = values.str.strip_chars()
            values = values.set(values == "", None)
        elif values.dtype.is_nested() or values.dtype.is_temporal() or values.dtype in (pl.Binary, pl.Object):
            raise DataError(f"{self.where}: holds {values.dtype} values, not numbers")
        numbers = values.cast(pl.Float64, strict=False)
        self.refuse(numbers.is_null() & values.is_not_null(), "{} is not a number; leave a missing value empty")
        numbers = numbers.fill_nan(None)
        self.refuse((numbers.abs() > _LARGEST).fill_null(False), "{} is too large or infinite; leave it empty")
        return numbers

    def _only(self) -> "RawColumn":
        """Lists of one as their value: one odd row of JSON lines makes a column of lists."""
        lists = self.values.cast(pl.List(self.values.dtype.inner))  # type: ignore[attr-defined]
        if lists.dtype.inner.is_nested():  # type: ignore[attr-defined]
            raise DataError(f"{self.where}: holds {lists.dtype} values; one text or number a row is needed")
        self.refuse(lists.list.len() > 1, "{} is a list; one text or number a row is needed")
        return replace(self, values=lists.list.first())

    def moments(self) -> NDArray[np.int64]:
        """Times as int64 that sort as the times do; DataError where one is missing or not a time."""
        values = self._times()
        self.refuse(values.is_null(), "{} is not a time; use ISO 8601 (2026-01-31T12:00:00Z) or epoch numbers")
        if values.dtype.is_float():
            return ordered(values.fill_null(0).to_numpy())
        return values.to_physical().cast(pl.Int64).fill_null(0).to_numpy()

    def instants(self) -> pl.Series:
        """Times as UTC Datetime("us"), null where missing; numbers are epoch seconds, or milli- or microseconds."""
        values = self.values
        given = values.is_not_null()
        if values.dtype == pl.String:
            texts = values.str.strip_chars()
            given &= texts != ""
            numbers = instants_of(texts.cast(pl.Float64, strict=False))
            values = numbers if not (numbers.is_null() & given).any() else numbers.fill_null(_iso_times(texts))
        else:
            values = self._times()
            values = instants_of(values) if values.dtype.is_float() else values
        self.refuse(values.is_null() & given, "{} is not a time; use ISO 8601 or epoch numbers")
        return values

    def _times(self) -> pl.Series:
        """Float64, or Datetime("us") of UTC; null where it is neither."""
        values = self._only().values if isinstance(self.values.dtype, pl.List | pl.Array) else self.values
        if values.dtype == pl.String:
            values = values.str.strip_chars()
            numbers = values.cast(pl.Float64, strict=False)
            mostly_numbers = 2 * numbers.null_count() < len(values)  # so that the odd one out is named
            values = numbers if mostly_numbers else _iso_times(values)
        if values.dtype.is_numeric():
            return values.cast(pl.Float64).fill_nan(None)
        if values.dtype == pl.Date or values.dtype == pl.Datetime:
            return values.cast(pl.Datetime("us"))
        raise DataError(f"{self.where}: holds {values.dtype} values; times are ISO 8601 or numbers")


@dataclass(frozen=True)
class RawTable:
    """A raw table: the columns that were read of it, and the names of all."""

    where: str
    frame: pl.DataFrame
    names: tuple[str, ...]

    @classmethod
    def of(cls, where: str, frame: pl.DataFrame) -> "RawTable":
        """A table that is in memory already."""
        return cls(where, frame, tuple(frame.columns))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def partitions(self) -> Sequence[Partition]:
        """The whole, as the one partition of a `Table`."""
        return (Held(self.where, self.frame),)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def column(self, name: str, use: str) -> RawColumn:
        """A column by its raw name; DataError names `use`, what it was wanted for."""
        if name not in self:
            raise DataError(f"{self.where}: no column '{name}' ({use}); it has: {shown_names(self.names)}")
        return RawColumn(f"{self.where}: column '{name}'", self.frame[name])


@dataclass(frozen=True)
class Raw:
    """What a source hands to the pipeline: tables of raw values, and the schema that reads them."""

    source: str
    schema: Schema
    interactions: RawTable | Table
    users: RawTable | Table | None = None
    items: RawTable | Table | None = None


@dataclass(frozen=True)
class HeldRaw(Raw):
    """The same of a source that is small enough to be held in memory."""

    interactions: RawTable
    users: RawTable | None = None
    items: RawTable | None = None


def shown_names(names: Collection[str]) -> str:
    """Column names for a message, the first twenty."""
    shown = ", ".join(list(names)[:20])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 20 else shown


def factorize(values: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """Distinct values in order of appearance, and for each row 1 + the place of its value there, or 0 for null."""
    distinct = values.drop_nulls().unique(maintain_order=True).alias("value")
    places = pl.Series("place", np.arange(1, len(distinct) + 1, dtype=np.int32))
    known = pl.DataFrame([distinct, places])
    joined = values.alias("value").to_frame().join(known, on="value", how="left", maintain_order="left")
    return distinct, joined["place"].fill_null(0).to_numpy()


def instants_of(numbers: pl.Series) -> pl.Series:
    """Epoch numbers (Float64) as Datetime("us"); null where they are outside the years 1 to 9999."""
    size = numbers.abs()
    unit = pl.Series(np.where(size >= 1e14, 1.0, np.where(size >= 1e11, 1e3, 1e6)))
    micros = (numbers * unit).floor()
    return micros.set(~micros.is_between(*_YEARS), None).cast(pl.Int64).cast(pl.Datetime("us"))


def _iso_times(values: pl.Series) -> pl.Series:
    """ISO 8601 texts as UTC microseconds, with or without a time and an offset; null for any other text.

    The year comes first: 01/02/2026 is refused, since nobody can tell its day from its month.
    """
    part = {name: pl.col("text").str.extract(_ISO, group) for group, name in enumerate(("day", "clock", "offset"), 1)}
    clock = part["clock"].fill_null("00:00")
    clock = pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock)
    offset = part["offset"].str.replace_all("[Z:]", "").str.pad_end(5, "0")
    minutes = offset.str.slice(1, 2).cast(pl.Int64) * 60 + offset.str.slice(3, 2).cast(pl.Int64)
    minutes = pl.when(offset.str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0)
    local = (part["day"] + "T" + clock).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return values.alias("text").to_frame().select(local - pl.duration(minutes=minutes)).to_series()
