"""The n-th smallest of values that lie in many sorted runs: exact, without ever sorting them together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Run(NamedTuple):
    """Distinct values of a chunk in ascending order, and how many there are up to each."""

    values: NDArray[np.int64]
    upto: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> "Run":
        """Of values in any order, each counted `weights` times (None: once)."""
        distinct, place = np.unique(values, return_inverse=True)
        counts = np.bincount(place, weights, len(distinct)).astype(np.int64)
        return cls(distinct[counts > 0], np.cumsum(counts[counts > 0]))

    def count(self, value: int) -> int:
        """How many are at most `value`."""
        place = int(np.searchsorted(self.values, value, side="right"))
        return int(self.upto[place - 1]) if place else 0

    def array(self) -> NDArray[np.int64]:
        """[2, n], to be saved."""
        return np.stack(self)

    @classmethod
    def of_array(cls, array: NDArray[np.int64]) -> "Run":
        """What `array` gave."""
        return cls(array[0], array[1])


def total(runs: Sequence[Run]) -> int:
    """How many values there are."""
    return sum(int(run.upto[-1]) for run in runs if len(run.upto))


def nth(runs: Sequence[Run], place: int) -> int:
    """The value at `place`, counted from 0, of all in ascending order; by bisection of the range of int64."""
    filled = [run for run in runs if len(run.values)]
    low = min(int(run.values[0]) for run in filled)
    high = max(int(run.values[-1]) for run in filled)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if sum(run.count(middle) for run in filled) > place else (middle + 1, high)
    return low


def ordered(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Floats as int64 that sort as they do."""
    bits = (values + 0.0).view(np.int64)  # no -0.0
    return np.where(bits < 0, np.int64(-1) ^ (bits & np.int64(2**63 - 1)), bits)


def floats(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """What `ordered` was given."""
    return np.where(values < 0, (np.int64(-1) ^ values) | np.int64(-(2**63)), values).view(np.float64)
