"""What a raw column holds: how many values, of which kind, and what it depends on."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import DataError
from training.datasets.drafting.roles import is_code
from training.datasets.raw import RawColumn, RawTable, factorize

SEPARATORS = ("|", ";", ",")
FEW = 32  # integers with fewer distinct values are categories
DENSE = 200  # so are more of them where they leave few gaps
FREE_TEXT = 40  # mean length, in characters


@dataclass(frozen=True)
class Facts:
    """One column of a raw table, measured."""

    name: str
    column: RawColumn

    @property
    def is_list(self) -> bool:
        """Whether a cell holds a list."""
        return isinstance(self.column.values.dtype, pl.List | pl.Array)

    @cached_property
    def _factors(self) -> tuple[pl.Series, NDArray[np.int32]]:
        if self.is_list:
            if self.column.values.explode().dtype.is_nested():
                raise DataError(f"{self.column.where}: holds {self.column.values.dtype} values")
            return factorize(
                RawColumn(self.column.where, self.column.values.cast(pl.List(pl.String)).list.join("|")).texts()
            )
        return factorize(self.column.texts())

    @property
    def distinct(self) -> pl.Series:
        """Distinct values as texts, in order of appearance."""
        return self._factors[0]

    @property
    def codes(self) -> NDArray[np.int32]:
        """1 + place in `distinct` for each row; 0 where missing."""
        return self._factors[1]

    @cached_property
    def missing(self) -> int:
        """Rows without a value."""
        return int((self.codes == 0).sum())

    @cached_property
    def numbers(self) -> pl.Series | None:
        """All values as numbers with nulls; None where one is not a number."""
        if self.is_list or self.column.values.dtype.is_temporal():
            return None
        try:
            return self.column.numbers()
        except DataError:
            return None

    @cached_property
    def is_binary(self) -> bool:
        """Whether every value is 0 or 1, and both occur."""
        return self.numbers is not None and set(self.numbers.unique().drop_nulls()) == {0.0, 1.0}

    @cached_property
    def is_time(self) -> bool:
        """Whether every value is a time."""
        try:
            self.column.moments()
        except DataError:
            return False
        return True

    @cached_property
    def quantities(self) -> NDArray[np.float64]:
        """The numbers without the missing ones; empty where a value is not a number."""
        return np.empty(0) if self.numbers is None else self.numbers.drop_nulls().to_numpy()

    @cached_property
    def is_numeric(self) -> bool:
        """Whether the values are quantities: numbers, but neither codes nor few integers."""
        values = self.quantities
        if not len(values) or self.column.values.dtype == pl.Boolean or is_code(self.name):
            return False
        if self.distinct.str.contains(r"^0\d").any():
            return False  # 007 is a name
        if (values % 1 != 0).any():
            return True
        dense = len(self.distinct) / (np.ptp(values) + 1) > 0.5
        return len(self.distinct) > FEW and not (dense and len(self.distinct) > DENSE)

    @cached_property
    def is_heavy_tailed(self) -> bool:
        """Whether a numeric column has no negative values and a long tail."""
        values = self.quantities
        middle, high = np.quantile(values, [0.5, 0.99]) if len(values) else (0, 0)
        return bool(high > 10 * max(middle, 1) and values.min() >= 0)

    @cached_property
    def separator(self) -> str | None:
        """What separates the parts of multi-valued texts; None where they are single values."""
        return next((mark for mark in SEPARATORS if self._is_joined_by(mark)), None)

    @cached_property
    def longest(self) -> int:
        """Length of a list that 99 % of the rows do not exceed."""
        marks = self.distinct.str.count_matches(self.separator or "|", literal=True)
        lengths = np.concatenate([[0], marks.to_numpy() + 1])[self.codes]
        return int(np.quantile(lengths, 0.99)) if len(lengths) else 1

    @property
    def is_free_text(self) -> bool:
        """Whether values are sentences rather than names of things."""
        if self.numbers is not None or self.is_list or self.separator is not None or len(self.distinct) <= FEW:
            return False
        return float(self.distinct.str.len_chars().to_numpy().mean()) > FREE_TEXT

    def _is_joined_by(self, mark: str) -> bool:
        if self.numbers is not None or self.is_list or not len(self.distinct):
            return False
        joined = self.distinct.filter(self.distinct.str.contains(mark, literal=True))
        if len(joined) < max(1, 0.05 * len(self.distinct)) or joined.str.contains(f"{mark} ", literal=True).any():
            return False  # a mark and a space is prose
        parts = joined.str.split(mark).explode()
        return parts.n_unique() < len(parts)  # parts come again, as those of a list do


def agreement(codes: NDArray[np.int32], groups: NDArray[np.int64]) -> tuple[int, int]:
    """How many groups of rows agree on a column's value, and how many do not.

    Only groups count that have two rows or more and another value than the commonest: the rest proves nothing.
    """
    low = np.full(int(groups.max()) + 1, np.iinfo(np.int32).max)
    high = np.full(len(low), -1)
    np.minimum.at(low, groups, codes)
    np.maximum.at(high, groups, codes)
    common = np.bincount(codes).argmax()
    telling = (np.bincount(groups, minlength=len(low)) > 1) & ((low != common) | (high != common))
    agree = int((telling & (low == high)).sum())
    return agree, int(telling.sum()) - agree


def facts_of(table: RawTable | None) -> dict[str, Facts]:
    """Facts of every column of a table that was read."""
    if table is None:
        return {}
    columns = table.frame.columns
    return {name: Facts(name, RawColumn(f"{table.where}: column '{name}'", table.frame[name])) for name in columns}
