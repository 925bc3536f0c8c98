"""Which row of a table holds what a key names. It knows numbers of rows, not what the rows hold or where they are."""

import numpy as np
from numpy.typing import NDArray

SLOT = (1 << 24) - 1  # the low bits of a key: a small number that no other living item has
NONE = -1

Keys = NDArray[np.int64]
Rows = NDArray[np.int32]


class RowIndex:
    """Of `rows` rows; at most one key of a slot leads to a row. Not for several threads at once."""

    def __init__(self, rows: int) -> None:
        self._row_of_slot = np.full(0, NONE, np.int32)
        self._key_of_slot = np.full(0, NONE, np.int64)
        self._slot_of_row = np.full(rows, NONE, np.int64)

    def find(self, keys: Keys) -> Rows:
        """The row of each key; NONE where there is none."""
        slots = keys & SLOT
        self._reach(int(slots.max(initial=0)))
        return np.where(self._key_of_slot[slots] == keys, self._row_of_slot[slots], np.int32(NONE))

    def enter(self, keys: Keys, rows: Rows) -> None:
        """Lead these keys, which `find` was asked for, to these rows; what their slots led to is forgotten."""
        slots = keys & SLOT
        self._row_of_slot[slots], self._key_of_slot[slots] = rows, keys
        self._slot_of_row[rows] = slots

    def forget(self, rows: NDArray[np.integer]) -> None:
        """No key leads to these rows any more."""
        slots = self._slot_of_row[rows]
        slots = slots[(slots != NONE) & (self._row_of_slot[slots] == rows)]  # not those that lead to another row by now
        self._key_of_slot[slots] = self._row_of_slot[slots] = NONE
        self._slot_of_row[rows] = NONE

    def _reach(self, slot: int) -> None:
        """Know slots up to this one."""
        more = slot + 1 - len(self._key_of_slot)
        if more > 0:
            more = max(more, len(self._key_of_slot))  # doubling: seldom
            self._key_of_slot = np.append(self._key_of_slot, np.full(more, NONE, np.int64))
            self._row_of_slot = np.append(self._row_of_slot, np.full(more, NONE, np.int32))
