"""Order, with ties: what the metrics that look at ranks alone are made of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]


def runs(ordered: NDArray[Any]) -> NDArray[np.int64]:
    """Where each run of equal values starts."""
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return np.flatnonzero(first)


def mean_ranks(values: Floats) -> NDArray[np.float64]:
    """Ranks from 1, tied values sharing their mean; NaN where any value is."""
    order = np.argsort(values)
    starts = runs(values[order])
    counts = np.diff(np.append(starts, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    return np.full(len(values), np.nan) if np.isnan(values).any() else ranks


def order_bits(scores: Floats) -> NDArray[np.uint64]:
    """32-bit numbers that order and tie as the scores do."""
    if scores.dtype != np.float32:
        return np.unique(scores, return_inverse=True)[1].astype(np.uint64)
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    negative = bits >> np.uint32(31) == 1
    return np.where(negative, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
