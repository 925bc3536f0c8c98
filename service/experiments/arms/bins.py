"""Quantiles of what is too much to keep: counts in bins that grow by a ratio; those of several processes add up."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

Sparse = dict[str, int]  # bin: count, as JSON has it


@dataclass(frozen=True)
class Bins:
    """`count` bins; the first ends at `least`, the others are `ratio` times as wide as the one before."""

    least: float
    ratio: float
    count: int

    @cached_property
    def _steps(self) -> float:
        return 1 / log(self.ratio)

    def of(self, value: float) -> int:
        """The bin of one value; what is too large is in the last."""
        if value <= self.least:
            return 0
        place = 1 + int(log(value / self.least) * self._steps)
        return place if place < self.count else self.count - 1

    def counts(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """How many of the values lie in each bin."""
        places = 1 + np.log(np.maximum(values, self.least, dtype=np.float64) / self.least) * self._steps
        places[values <= self.least] = 0
        return np.bincount(np.minimum(places, self.count - 1).astype(np.int64), minlength=self.count)

    def quantile(self, counts: NDArray[np.int64], share: float) -> float | None:
        """The middle of the bin that this share of the values does not exceed; None without values."""
        sums = np.cumsum(counts)
        if not len(sums) or not sums[-1]:
            return None
        place = int(np.searchsorted(sums, max(1, ceil(share * sums[-1]))))
        return float(self.least * self.ratio ** (place - 0.5)) if place else self.least


def sparse(counts: NDArray[np.int64]) -> Sparse:
    """Bins that hold any."""
    return {str(place): int(counts[place]) for place in np.flatnonzero(counts)}


def dense(counts: Mapping[str, int], bins: Bins) -> NDArray[np.int64]:
    """Counts of all bins; what another version of the service counted beyond them is in the last."""
    full = np.zeros(bins.count, np.int64)
    for place, number in counts.items():
        full[min(int(place), bins.count - 1)] += number
    return full
