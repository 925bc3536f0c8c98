"""What is counted of a field on the way through its values."""

from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.describe.bins import Bins
from training.describe.counts import Counts


@dataclass
class Moments:
    """Of a number in one split; sums are of distances from `centre`."""

    centre: float
    rows: int = 0
    total: float = 0.0
    squares: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, values: NDArray[np.float32], weights: NDArray[np.int64]) -> None:
        """Add values, each as often as its weight says."""
        met = weights > 0
        if not met.any():
            return
        away, weights = values[met].astype(np.float64) - self.centre, weights[met].astype(np.float64)
        self.rows += int(weights.sum())
        self.total += float(weights @ away)
        self.squares += float(weights @ away**2)
        self.least, self.most = min(self.least, float(values[met].min())), max(self.most, float(values[met].max()))

    def found(self) -> dict[str, float]:
        """Mean, sd, least and most; nothing without rows."""
        if not self.rows:
            return {}
        mean = self.total / self.rows
        sd = sqrt(max(0.0, self.squares / self.rows - mean**2))
        return {"mean": self.centre + mean, "sd": sd, "least": self.least, "most": self.most}


@dataclass
class Lists:
    """Of a weighted field in one split: impressions with a list, and the weights in these lists."""

    rows: int = 0
    weights: int = 0
    total: float = 0.0

    def add(self, ids: NDArray[np.int32], weights: NDArray[np.float32], often: NDArray[Any]) -> None:
        """Add rows [n, slots], each as often as it was shown; a slot without id and weight is empty."""
        filled = (ids > 0) | (weights != 0)
        self.rows += int(often[filled.any(axis=1)].sum())
        self.weights += int(filled.sum(axis=1) @ often.astype(np.int64))
        self.total += float(weights.astype(np.float64).sum(axis=1) @ often.astype(np.float64))

    def found(self, rows: int) -> dict[str, float | None]:
        """Share of rows with a list, mean weight."""
        return {"listed": self.rows / rows if rows else None, "weight": self.total / max(1, self.weights) or None}


@dataclass
class Sums:
    """All that is counted of a field."""

    counts: Counts
    bins: Bins | None = None  # of a number
    moments: list[Moments] = field(default_factory=list)
    lists: list[Lists] = field(default_factory=list)  # of a weighted field
