"""Stored rows of one side: which users (or items) there are, and which row each impression points to."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.schema import Field, Side
from training.datasets.raw import RawColumn, RawTable, factorize


@dataclass(frozen=True)
class Stored:
    """Rows of the side's table first, in its order, then ids that only interactions know, as they appear."""

    key: str  # raw column
    table: RawTable | None
    keys: pl.Series  # canonical ids, [rows]
    rows: NDArray[np.int32]  # [impressions]
    latest: NDArray[np.int64]  # last impression of each row, [rows]; -1 where it has none

    def holds(self, field: Field) -> bool:
        """Whether the field's value is the id itself, or a column of the side's table."""
        return field.source == self.key or (self.table is not None and field.source in self.table)

    def column(self, field: Field) -> RawColumn:
        """Raw values of a field that the rows hold, [rows]."""
        if field.source == self.key or self.table is None:
            return RawColumn(f"column '{self.key}'", self.keys)
        column = self.table.column(field.source, f"field '{field.name}'")
        absent = len(self.keys) - len(column.values)
        return RawColumn(column.where, column.values.extend_constant(None, absent))

    def latest_of(self, column: RawColumn) -> RawColumn:
        """The last value of each row in a column of the interactions, [rows]."""
        places = pl.Series(self.latest)
        return RawColumn(column.where, column.values.gather(places.set(places < 0, None)))


def stored_rows(
    side: Side, key: str, table: RawTable | None, interactions: RawTable, times: NDArray[np.int64] | None
) -> Stored:
    """Find the rows of one side; DataError where an id is missing, or twice in the side's own table."""
    use = f"{side}_key"
    met = _ids(interactions.column(key, use))
    own = met.clear() if table is None else _ids(table.column(key, use))
    if table is not None:
        table.column(key, use).refuse(~own.is_first_distinct(), "{} appeared before; give each id one row")
    keys, codes = factorize(pl.concat([own, met]))
    rows = codes[len(own) :] - np.int32(1)
    return Stored(key, table, keys.alias(":key"), rows, _latest(rows, len(keys), times))


def _ids(column: RawColumn) -> pl.Series:
    ids = column.texts()
    column.refuse(ids.is_null(), "the id is missing; every row needs one")
    return ids.alias("id")


def _latest(rows: NDArray[np.int32], count: int, times: NDArray[np.int64] | None) -> NDArray[np.int64]:
    order = np.arange(len(rows)) if times is None else np.argsort(times, kind="stable")
    last = np.full(count, -1, np.int64)
    np.maximum.at(last, rows[order], np.arange(len(rows)))  # place in time order
    return np.where(last < 0, -1, order[last])
