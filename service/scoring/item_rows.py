"""Item rows kept in process, decoded: a popular item costs one look into a dict, and no network.

One table serves every model of one schema. It is believed only while `tracking` hears of every change: what changes in
Redis drops out at once, and a row that changes while it is on its way is not kept. All of it lives on the event loop.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, repeat

import numpy as np
from numpy.typing import NDArray

from contract.rows import Layout, Rows

KEY_BITS = 24  # of an item key: the slot; above them a number that is never used twice
_NUMBERS = count(1)  # one for all tables of the process
_ROW_OVERHEAD = 320  # bytes of the dict, the id and the columns beside a row, roughly
_WINDOW, _EVICTED = 2048, 8  # evict an eighth of so many neighbouring slots
Counts = Mapping[str, Callable[[float], None]]  # hits, misses, evictions, invalidations
_FREE = np.iinfo(np.int64).max  # "used" of a slot that must not be evicted: nobody's, or being filled


@dataclass(slots=True)
class Found:
    """The stored rows of a request's candidates."""

    ids: NDArray[np.int32]  # [N, slots]
    dense: NDArray[np.float32]  # [N, numerics]
    missing: NDArray[np.bool_]  # [N], absent or corrupt
    keys: NDArray[np.int64]  # [N], Inputs.item_keys
    corrupt: int = 0


@dataclass(slots=True, eq=False)
class LookUp:
    """Candidates on their way: `found` holds what is kept, `ItemRows.fill` adds the others."""

    found: Found
    missed: NDArray[np.int64]  # [M], candidates to read from Redis
    wanted: Sequence[str]  # [M], their ids
    changed: set[str] = field(default_factory=set)  # since the look-up
    all_changed: bool = False


class ItemRows:
    """A table of at most `rows` rows and about `megabytes`; rows are read again after `seconds`."""

    def __init__(self, layout: Layout, rows: int, megabytes: int, seconds: float, counts: Counts) -> None:
        self._layout, self._seconds, self._counts = layout, seconds, counts
        self.capacity = size = max(1, min(rows, (megabytes << 20) // (layout.width + _ROW_OVERHEAD), 1 << KEY_BITS))
        self.generation = ""
        self.trusted = False  # whether changes are heard of
        self._slots: dict[str, int] = {}
        self._names: list[str] = [""] * size
        # one row more, at -1: what a look-up of an unknown id finds; its time is always over
        self._ids = np.zeros((size + 1, len(layout.default_ids)), np.int32)
        self._dense = np.zeros((size + 1, len(layout.default_dense)), np.float32)
        self._missing = np.zeros(size + 1, np.bool_)
        self._keys = np.zeros(size + 1, np.int64)
        self._expires = np.zeros(size + 1, np.float64)
        self._used = np.full(size + 1, _FREE, np.int64)  # number of the last look-up
        self._free = np.arange(size, dtype=np.int64)[::-1].copy()  # a stack, of which the first `_vacant` count
        self._vacant, self._hand, self._time = size, 0, 0
        self._fetching: set[LookUp] = set()

    def __len__(self) -> int:
        return len(self._slots)

    @contextmanager
    def look_up(self, items: Sequence[str]) -> Iterator[LookUp]:
        """What is kept of these items. Within the block changes are noted; `fill` it there."""
        self._time += 1
        slots = np.fromiter(map(self._slots.get, items, repeat(-1)), np.int64, len(items))
        missed = np.flatnonzero(self._expires[slots] <= time.monotonic())
        self._used[slots] = self._time
        found = Found(self._ids[slots], self._dense[slots], self._missing[slots], self._keys[slots])
        wanted = items if len(missed) == len(items) else [items[i] for i in missed.tolist()]
        look_up = LookUp(found, missed, wanted, all_changed=not self.trusted)
        self._fetching.add(look_up)
        try:
            yield look_up
        finally:
            self._fetching.discard(look_up)

    def fill(self, look_up: LookUp, raw: Sequence[bytes | None]) -> None:
        """Add the rows that were missed, as they lie in Redis, and keep them where nothing changed meanwhile."""
        found, missed = look_up.found, look_up.missed
        self._counts["hits"](len(found.keys) - len(missed))
        if not len(missed):
            return
        self._counts["misses"](len(missed))
        rows = self._layout.decode(raw)
        found.ids[missed], found.dense[missed], found.missing[missed] = rows.ids, rows.dense, rows.missing
        found.corrupt = rows.corrupt
        found.keys[missed] = 0 if look_up.all_changed else self._keep(look_up, rows, raw)

    def switch(self, generation: str) -> None:
        """Rows of another generation from now on; trusted again when their changes are heard of."""
        self.distrust()
        self.generation = generation

    def distrust(self) -> None:
        """Keep nothing until `trusted` is set again."""
        self.trusted = False
        self.clear()

    def clear(self) -> None:
        """Drop all rows, also those on their way."""
        for look_up in self._fetching:
            look_up.all_changed = True
        if self._slots:
            self._counts["invalidations"](len(self._slots))
            self._slots.clear()
            self._free[:] = np.arange(self.capacity)[::-1]
            self._vacant = self.capacity
            self._used[:] = _FREE

    def drop(self, items: Sequence[str]) -> None:
        """Drop rows that changed, also where they are on their way."""
        for look_up in self._fetching:
            look_up.changed.update(items)
        gone = [slot for item in items if (slot := self._slots.pop(item, -1)) >= 0]
        self._release(np.array(gone, np.int64))
        self._counts["invalidations"](len(gone))

    def _keep(self, look_up: LookUp, rows: Rows, raw: Sequence[bytes | None]) -> NDArray[np.int64]:
        """Store what was read and return the keys; 0 for a row that is not kept."""
        sound = (~rows.missing | np.fromiter((row is None for row in raw), np.bool_, len(raw))).tolist()
        changed, wanted = look_up.changed, look_up.wanted
        places = {item: place for place, item in enumerate(wanted) if sound[place] and item not in changed}
        slots = self._reserve(list(places))
        kept = np.flatnonzero(slots >= 0)
        self._write(slots[kept], np.fromiter(places.values(), np.int64, len(places))[kept], rows)
        slot_of = dict(zip(places, slots.tolist(), strict=True))
        return self._keys[np.fromiter(map(slot_of.get, wanted, repeat(-1)), np.int64, len(raw))]

    def _reserve(self, items: list[str]) -> NDArray[np.int64]:
        """A slot for each of these ids, its own where it has one; -1 where there is no room."""
        slots = np.fromiter(map(self._slots.get, items, repeat(-1)), np.int64, len(items))
        self._used[slots] = _FREE  # not to be evicted for the sake of the others
        new = np.flatnonzero(slots < 0)
        self._make_room(len(new))
        new = new[: self._vacant]
        slots[new] = self._free[self._vacant - len(new) : self._vacant][::-1]
        self._vacant -= len(new)
        self._keys[slots[new]] = 0  # whatever was there before
        for place, slot in zip(new.tolist(), slots[new].tolist(), strict=True):
            self._names[slot] = item = items[place]
            self._slots[item] = slot
        return slots

    def _write(self, slots: NDArray[np.int64], places: NDArray[np.int64], rows: Rows) -> None:
        ids, dense, missing = rows.ids[places], rows.dense[places], rows.missing[places]
        # a row that was read again and is the same keeps its key, and so what was computed of it
        same = (
            (self._keys[slots] > 0)
            & (self._ids[slots] == ids).all(axis=1)
            & (self._dense[slots].view(np.int32) == dense.view(np.int32)).all(axis=1)
            & (self._missing[slots] == missing)
        )
        fresh = next(_NUMBERS) << KEY_BITS | slots
        self._keys[slots] = np.where(same, self._keys[slots], fresh)
        self._ids[slots], self._dense[slots], self._missing[slots] = ids, dense, missing
        self._expires[slots] = time.monotonic() + self._seconds
        self._used[slots] = self._time

    def _make_room(self, wanted: int) -> None:
        """Evict until so many slots are free, or all that can be; what was not used for long goes first."""
        window = min(_WINDOW, self.capacity)
        for _ in range(-(-self.capacity // window) * _EVICTED):
            if self._vacant >= min(wanted, self.capacity):
                break
            slots = (self._hand + np.arange(window)) % self.capacity
            self._hand = (self._hand + window) % self.capacity
            oldest = np.argpartition(self._used[slots], -(-window // _EVICTED) - 1)[: -(-window // _EVICTED)]
            evicted = slots[oldest]
            evicted = evicted[self._used[evicted] != _FREE]
            for slot in evicted.tolist():
                del self._slots[self._names[slot]]
            self._release(evicted)
            self._counts["evictions"](len(evicted))

    def _release(self, slots: NDArray[np.int64]) -> None:
        self._free[self._vacant : self._vacant + len(slots)] = slots
        self._vacant += len(slots)
        self._used[slots] = _FREE
