"""Where columns of items lie in a device's table: a ring of rows, overwritten in turn.

What a run misses is computed straight into the table: the item graph's output is bound to the rows it is to fill. So
they lie side by side, and the ring is the eviction; no row is copied, and no graph scatters them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.scoring.row_index import NONE, Keys, RowIndex, Rows


@dataclass(frozen=True, slots=True)
class Placement:
    """Rows of a run's candidates, and which of them are to be computed."""

    rows: Rows  # [N], of each candidate
    computed: NDArray[np.int64]  # [M], positions of candidates whose columns are written to `start`, `start` + 1, …
    start: int
    keys: Keys  # of the first of them; the others have none, and are overwritten next


class RowRing:
    """For one thread: between `place` and `keep` there is no other run."""

    def __init__(self, rows: int, padded: Callable[[int], int]) -> None:
        """`padded(M)` rows, at most `rows` of them, are written where M are to be computed."""
        self._index = RowIndex(rows)
        self._rows, self._padded = rows, padded
        self._head = 0
        self.hits = self.misses = 0  # candidates

    def place(self, keys: Keys) -> Placement:
        """Rows for candidates of these keys, 0 for none. What is computed is found again only after `keep`."""
        rows = self._index.find(keys)
        while True:
            missing = np.flatnonzero(rows == NONE)
            named, first, place_of = _distinct(keys[missing])
            start = self._start(len(first))
            clash = (rows >= start) & (rows < start + self._padded(len(first))) if len(first) else np.zeros(0, np.bool_)
            if not clash.any():
                break
            rows[clash] = NONE  # this run reads what it would overwrite: computed again
        self.hits, self.misses = self.hits + len(keys) - len(missing), self.misses + len(missing)
        if len(first):
            self._index.forget(np.arange(start, start + self._padded(len(first))))
            rows[missing] = start + place_of
        return Placement(rows, missing[first], start, named)

    def keep(self, placed: Placement) -> None:
        """What was to be computed has been."""
        count = len(placed.keys)
        if count:
            self._index.enter(placed.keys, np.arange(placed.start, placed.start + count, dtype=np.int32))
            self._head = placed.start + count

    def _start(self, count: int) -> int:
        """Where so many rows fit in one piece."""
        return self._head if self._head + self._padded(count) <= self._rows else 0


def _distinct(keys: Keys) -> tuple[Keys, NDArray[np.int64], NDArray[np.int64]]:
    """Keys but 0; where each of them is first, then where the 0s are; and of each key, its place among these."""
    named, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    nameless = np.flatnonzero(keys == 0)
    if not len(nameless):
        return named, first, inverse
    inverse = inverse - 1  # of the sorted keys, which are not negative, 0 was the first
    inverse[nameless] = len(named) - 1 + np.arange(len(nameless))
    return named[1:], np.append(first[1:], nameless), inverse
