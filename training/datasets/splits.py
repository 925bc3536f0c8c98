"""Which impressions train, validate and test: exact shares from bounds that are found before any row is placed.

By time: all impressions of one moment stay together. By user: users in the order of a hash of their key. At random:
rows in the order of a hash of their number. The bounds are the values at which the parts begin; no order is ever held.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.dictionary import Dictionary
from contract.hashing import hash_all, mix
from contract.schema import Split
from contract.texts import Texts
from training.datasets.prepared import SPLITS
from training.datasets.ranks import Run, nth, total

PARTS = {name: part for part, name in enumerate(SPLITS)}
BLOCK = 1 << 22  # rows
_STEP = 0x9E3779B97F4A7C15
_TOP = 16  # bits

Parts = NDArray[np.int8]  # of each row: its place in SPLITS


class Rows(NamedTuple):
    """What a split may depend on, of consecutive rows of the whole log."""

    start: int
    size: int
    users: NDArray[np.int32] | None = None
    times: NDArray[np.int64] | None = None
    given: NDArray[np.int8] | None = None


class Bounds(NamedTuple):
    """The first values of validation and of test, in the order that the split goes by."""

    split: Split
    first: tuple[int, int]
    of_user: Parts | None = None  # by row number

    def parts(self, rows: Rows) -> Parts:
        """The part of each row."""
        if self.split.by == "time" and rows.times is not None:
            return self._after(rows.times)
        if self.split.by == "user" and rows.users is not None and self.of_user is not None:
            return self.of_user[rows.users]
        if self.split.by == "column" and rows.given is not None:
            return rows.given
        return self._after(shuffled(self.split.seed, rows.start, rows.size))

    def _after(self, values: NDArray[np.int64] | NDArray[np.uint64]) -> Parts:
        return np.searchsorted(np.array(self.first, values.dtype), values, side="right").astype(np.int8)


def bounds(split: Split, rows: int, users: Dictionary | None, times: Sequence[Run]) -> Bounds:
    """The bounds of a log of so many rows."""
    if split.by == "time":
        places = cuts(split, total(times))
        return Bounds(split, (nth(times, places[0]), nth(times, places[1])))
    if split.by == "user" and users is not None:
        return Bounds(split, (0, 0), _by_user(split, users))
    if split.by == "column":
        return Bounds(split, (0, 0))
    return Bounds(split, _random_bounds(split, rows))


def cuts(split: Split, count: int) -> tuple[int, int]:
    """How many of `count` train, and how many train or validate."""
    shares = np.array([split.train, split.train + split.validation])
    train, seen = np.floor(shares * count + 1e-6).astype(np.int64)  # .7 + .1 must not fall short of .8
    return min(int(train), count - 1), min(int(seen), count - 1)


def permuted(split: Split, rows: int) -> pl.Series:
    """Names of parts by numpy's permutation of the seed: for the benchmarks whose split is fixed so."""
    parts = np.empty(rows, np.int8)
    order = np.random.default_rng(split.seed).permutation(rows)
    parts[order] = np.searchsorted(np.array(cuts(split, rows)), np.arange(rows), side="right")
    return pl.Series(SPLITS).gather(parts)


def shuffled(seed: int, start: int, count: int) -> NDArray[np.uint64]:
    """A 64-bit hash of each row number: splitmix64's, so no two rows have the same."""
    x = np.arange(start, start + count, dtype=np.uint64) + np.uint64(seed * _STEP % 2**64)
    return mix(x)


def _random_bounds(split: Split, rows: int) -> tuple[int, int]:
    """By counting hashes by their first bits, then ordering those of one count alone."""
    counts = np.zeros(1 << _TOP, np.int64)
    for block in _hashes(split.seed, rows):
        counts += np.bincount((block >> np.uint64(64 - _TOP)).astype(np.int64), minlength=1 << _TOP)
    before = np.concatenate([[0], np.cumsum(counts)])
    found = []
    for place in cuts(split, rows):
        top = int(np.searchsorted(before, place, side="right")) - 1
        same = [block[(block >> np.uint64(64 - _TOP)) == top] for block in _hashes(split.seed, rows)]
        found.append(int(np.sort(np.concatenate(same))[place - int(before[top])]))
    return found[0], found[1]


def _hashes(seed: int, rows: int) -> Iterator[NDArray[np.uint64]]:
    return (shuffled(seed, start, min(BLOCK, rows - start)) for start in range(0, rows, BLOCK))


def _by_user(split: Split, users: Dictionary) -> Parts:
    keys = [f"{split.seed}:{key}".encode() for key in users.decode(range(1, users.size))]
    order = np.argsort(hash_all(Texts.of(keys)), kind="stable")
    parts = np.empty(len(keys), np.int8)
    parts[order] = np.searchsorted(np.array(cuts(split, len(keys))), np.arange(len(keys)), side="right")
    return parts


def advice(split: Split, rows: int, users: int, times: Sequence[Run]) -> str:
    """What to do where a part has no rows."""
    if split.by == "time":
        moments = len(np.unique(np.concatenate([run.values for run in times])))
        return f"{rows} rows have {moments} distinct times; use more data, or split: {{by: random}}"
    if split.by == "user":
        return f"there are {users} users; use more data, other fractions, or split: {{by: random}}"
    if split.by == "column":
        return f"column '{split.column}' must say train, validation and test"
    return f"there are {rows} rows; use more data or other fractions"
