"""A number as one of at most 4,096 bins, so that it is counted as ids are.

Bins are cut at quantiles of a sample of training; a number with fewer distinct values there has a bin for each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 4096


@dataclass(frozen=True)
class Bins:
    """Bin i holds the numbers from `edges[i - 1]` up to the next edge; bin 0 those below all."""

    edges: NDArray[np.float32]

    @classmethod
    def of(cls, values: NDArray[np.float32], weights: NDArray[np.int64] | None = None) -> "Bins":
        """Cut at quantiles of a sample; weights say how many impressions each of its rows stands for."""
        met = values if weights is None else values[weights > 0]
        distinct, places = np.unique(met, return_inverse=True)
        if len(distinct) <= BINS:
            return cls(distinct.astype(np.float32))
        mass = np.cumsum(np.bincount(places, None if weights is None else weights[weights > 0]))
        cuts = np.searchsorted(mass, np.arange(BINS) / BINS * mass[-1], side="right")
        return cls(distinct[np.unique(cuts)].astype(np.float32))

    @property
    def size(self) -> int:
        """How many bins."""
        return len(self.edges) + 1

    def place(self, values: NDArray[np.float32]) -> NDArray[np.int32]:
        """Bin of each value."""
        return np.searchsorted(self.edges, values, side="right").astype(np.int32)

    def quantile(self, counts: NDArray[np.int64], share: float) -> float | None:
        """Lower edge of the bin that holds a quantile; None without rows."""
        if not len(self.edges) or not counts.sum():
            return None
        place = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
        return float(self.edges[max(0, place - 1)])
