"""Columns of hot items, computed once an item and model: a bounded table that candidates are gathered from.

Nothing here needs to be told that a row has changed: a key names the content of an item's columns for ever, so a row
that has changed comes with another key, and what the old one led to is evicted, since nobody asks for it any more.
"""

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.scoring.inputs import Inputs
from service.scoring.row_index import NONE, RowIndex

_EVICTED = 16  # one in so many rows goes at once, those that were used longest ago

Columns = NDArray[np.float32]
Compute = Callable[[NDArray[np.int64]], Columns]  # positions of candidates [M] → their columns [M, width]


class ItemTable:
    """`capacity` rows of `width` float32; several threads may `take` at once."""

    def __init__(self, width: int, capacity: int) -> None:
        self.columns = np.empty((capacity, width), np.float32)  # untouched pages take no memory
        self._lock = threading.Lock()
        self._index = RowIndex(capacity)
        self._used = np.zeros(capacity, np.int64)  # number of the run that used the row last
        self._free = np.arange(capacity, dtype=np.int32)[::-1].copy()  # a stack, of which the first `_vacant` count
        self._vacant = capacity
        self._runs = 0
        self._running: set[int] = set()
        self.hits = self.misses = 0

    def take(self, inputs: Inputs, compute: Compute) -> tuple[Columns, NDArray[np.int32], int]:
        """Columns and each candidate's row in them, computing what is not there; give the third back to `done`.

        The columns are the table, or a matrix of these candidates alone where some must not or cannot be kept.
        """
        with self._lock:
            run = self._begin()
            rows = self._find(inputs.item_keys, run)
        missing = np.flatnonzero(rows == NONE)
        if not len(missing):
            self.hits += len(rows)
            return self.columns, rows, run
        try:
            new = compute(missing)
        except BaseException:
            self.done(run)
            raise
        with self._lock:
            self.hits, self.misses = self.hits + len(rows) - len(missing), self.misses + len(missing)
            if self._keep(inputs.item_keys[missing], new, run):
                kept = self._find(inputs.item_keys, run)
                if (kept != NONE).all():  # unless two contents of one item were asked for at once
                    return self.columns, kept, run
        columns = np.empty((len(rows), self.columns.shape[1]), np.float32)
        found = np.flatnonzero(rows != NONE)
        columns[found], columns[missing] = self.columns[rows[found]], new
        return columns, np.arange(len(rows), dtype=np.int32), run

    def done(self, run: int) -> None:
        """The run that `take` began has read its rows."""
        with self._lock:
            self._running.discard(run)

    def _begin(self) -> int:
        self._runs += 1
        self._running.add(self._runs)
        return self._runs

    def _find(self, keys: NDArray[np.int64], run: int) -> NDArray[np.int32]:
        rows = self._index.find(keys)
        found = rows[rows != NONE]
        self._used[found] = np.maximum(self._used[found], run)  # a newer run may read them too
        return rows

    def _keep(self, keys: NDArray[np.int64], columns: Columns, run: int) -> bool:
        """Enter these columns; False, and nothing done, where one has no key or there is no room."""
        if not keys.all():
            return False
        keys, first = np.unique(keys, return_index=True)
        if len(keys) > self._vacant:
            self._evict(len(keys))
        if len(keys) > self._vacant:
            return False
        self._vacant -= len(keys)
        rows = self._free[self._vacant : self._vacant + len(keys)].copy()
        self.columns[rows] = columns[first]
        self._index.enter(keys, rows)  # a row that it forgets may still be read by a run: `_evict` frees it
        self._used[rows] = run
        return True

    def _evict(self, wanted: int) -> None:
        """Free the rows that were used longest ago, but none that a run reads."""
        oldest = min(self._running, default=self._runs)
        idle = np.flatnonzero(self._used < oldest)
        taken = np.setdiff1d(idle, self._free[: self._vacant], assume_unique=True)
        count = min(max(wanted, len(self._used) // _EVICTED), len(taken))
        if count:
            victims = taken[np.argpartition(self._used[taken], count - 1)[:count]]
            self._index.forget(victims)
            self._free[self._vacant : self._vacant + count] = victims
            self._vacant += count
