"""Features one by one → raw columns: an id a row, or lists of ids and of their values, the highest first."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.datasets.aliccp.layout import Member
from training.datasets.aliccp.lines import Features


def to_columns(features: Features, rows: int, members: Sequence[Member]) -> pl.DataFrame:
    """Columns of all members, [rows]; null where a row has no value."""
    columns: list[pl.Series] = []
    for place, member in enumerate(members):
        columns += _columns(member, features.where(np.flatnonzero(features.field == place)), rows)
    return pl.DataFrame(columns)


def notes(features: Features, members: Sequence[Member]) -> Counter[str]:
    """Ids that their field does not own, and values beyond the one that is kept."""
    first, last = (np.array([getattr(member, end) for member in members]) for end in ("first", "last"))
    strange = (features.id < first[features.field]) | (features.id > last[features.field])
    outside = np.bincount(features.field[strange], minlength=len(members)).tolist()
    found = Counter({f"ids of field {m.code} out of its range, kept": n for m, n in zip(members, outside, strict=True)})
    single = np.array([member.length in (None, 1) for member in members])[features.field]
    cells = features.row[single] * len(members) + features.field[single]
    beyond = (np.bincount(cells, minlength=len(members)) - 1).clip(0)
    again = np.bincount(np.arange(len(beyond)) % len(members), beyond).astype(np.int64).tolist()
    found.update({f"second values of field {m.code}, left out": n for m, n in zip(members, again, strict=True)})
    return +found


def _columns(member: Member, features: Features, rows: int) -> list[pl.Series]:
    length = member.length or 1
    highest, place = _highest(features, length)
    row, ids = highest.row, highest.id
    if member.length is None:
        known = np.zeros(rows, np.bool_)
        known[row] = True
        column = np.zeros(rows, np.int32)
        column[row] = ids
        return [pl.Series(member.name, column).set(pl.Series(~known), None)]
    counts = np.bincount(row, minlength=rows)
    lists = [_lists(member.name, ids, (rows, length), (row, place), counts)]
    if member.weighted:
        lists.append(_lists(member.weights, highest.value, (rows, length), (row, place), counts))
    return lists


def _highest(features: Features, length: int) -> tuple[Features, NDArray[np.int64]]:
    """The features of highest value in each row, and their places in it; of equal ones first those that came first."""
    if not (features.row[1:] == features.row[:-1]).any():
        return features, np.zeros(len(features.row), np.int64)
    bits = (features.value + 0).view(np.int32)  # + 0: there is no -0
    rising = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)  # integers in the order of the values
    ordered = features.where(np.argsort((features.row << 32) - rising, kind="stable"))  # twice as fast as lexsort
    place = np.arange(len(ordered.row)) - np.searchsorted(ordered.row, ordered.row)
    kept = place < length
    return ordered.where(kept), place[kept]


def _lists(
    name: str,
    values: NDArray[np.int32] | NDArray[np.float32],
    shape: tuple[int, int],
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    counts: NDArray[np.int64],
) -> pl.Series:
    """Lists of the first `counts` values of each row; null where there is none."""
    matrix = np.zeros(shape, values.dtype)  # [rows, length]
    matrix[places] = values
    lists = pl.col("matrix").arr.to_list().list.head(pl.col("counts"))
    known = pl.DataFrame({"matrix": matrix, "counts": counts})
    return known.select(pl.when(pl.col("counts") > 0).then(lists).alias(name)).to_series()
