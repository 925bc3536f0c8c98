"""What happened when: requests counted in slots of half a second, by the time at which each was over.

Rounds, the recovery after a spike, the drift of a soak and the steps to saturation are all windows over these slots.
A worker of a distributed run counts from its own start and hands its slots to the master, which adds them up: clocks
of different machines need not agree.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from loadtest.thresholds import Summary

SLOT_SECONDS = 0.5

Sample = tuple[float, float, float]  # seconds since the start, bytes of the service, its CPU seconds


def three_digits(milliseconds: float) -> float:
    """Latencies are counted to three digits: exact enough for a p99 of 5 ms, few enough to send to the master."""
    return float(f"{milliseconds:.3g}")


@dataclass
class Slot:
    """Counts of half a second; latencies in milliseconds."""

    arrivals: int = 0
    failures: int = 0
    candidates: int = 0
    latencies: Counter[float] = field(default_factory=Counter)

    def add(self, other: Self) -> None:
        """Add the counts of another."""
        self.arrivals += other.arrivals
        self.failures += other.failures
        self.candidates += other.candidates
        self.latencies.update(other.latencies)


class Timeline:
    """Slots by their number since the start."""

    def __init__(self) -> None:
        self._slots: dict[int, Slot] = {}
        self._unsent: dict[int, Slot] = {}
        self._start = time.perf_counter()

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def record(self, milliseconds: float, failed: bool, candidates: int, at: float | None = None) -> None:
        """Count a request that is over now, or was `at` so many seconds."""
        self._add(Slot(0, int(failed), candidates, Counter({three_digits(milliseconds): 1})), at)

    def arrival(self, at: float | None = None) -> None:
        """Count a request of an open source that is due."""
        self._add(Slot(arrivals=1), at)

    def _add(self, slot: Slot, at: float | None) -> None:
        number = int((self.elapsed() if at is None else at) / SLOT_SECONDS)
        for slots in (self._slots, self._unsent):
            slots.setdefault(number, Slot()).add(slot)

    def take(self) -> dict[int, list[Any]]:
        """What was counted since the last call, in plain types that a message can carry."""
        taken, self._unsent = self._unsent, {}
        return {n: [slot.arrivals, slot.failures, slot.candidates, dict(slot.latencies)] for n, slot in taken.items()}

    def merge(self, taken: Mapping[int, list[Any]]) -> None:
        """Add what another process took."""
        for number, (arrivals, failures, candidates, latencies) in taken.items():
            self._slots.setdefault(number, Slot()).add(Slot(arrivals, failures, candidates, Counter(latencies)))

    def window(self, start: float, end: float) -> Summary:
        """Figures of the slots that lie between two times, both rounded to whole slots."""
        total, seconds = self._total(start, end)
        return _summary(total, seconds)

    def offered(self, start: float, end: float) -> float:
        """Requests/s that were due between two times at the sources of an open load."""
        total, seconds = self._total(start, end)
        return total.arrivals / seconds if seconds else 0.0

    def _total(self, start: float, end: float) -> tuple[Slot, float]:
        first, last = round(start / SLOT_SECONDS), round(end / SLOT_SECONDS)
        total = Slot()
        for number in range(first, last):
            if number in self._slots:
                total.add(self._slots[number])
        return total, (last - first) * SLOT_SECONDS


def _summary(total: Slot, seconds: float) -> Summary:
    values = np.array(sorted(total.latencies), float)
    reached = np.cumsum([total.latencies[value] for value in values]) if len(values) else np.zeros(0)
    count = total.latencies.total()
    p50, p95, p99, slowest = (
        float(values[np.searchsorted(reached, share * count)]) if count else 0.0 for share in (0.5, 0.95, 0.99, 1)
    )
    return Summary(seconds, count, total.failures, total.candidates, p50, p95, p99, slowest)
