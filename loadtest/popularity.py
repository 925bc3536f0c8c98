"""Zipf over ids: the k-th most popular is drawn in proportion to k to the power of -exponent."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Popularity:
    """The order of popularity is a shuffle by `rng`: ids say nothing about it."""

    def __init__(self, ids: Sequence[str], exponent: float, rng: np.random.Generator) -> None:
        self._ids: list[str] = [ids[i] for i in rng.permutation(len(ids))]
        self._weights: NDArray[np.float64] = np.arange(1, len(ids) + 1, dtype=np.float64) ** -exponent
        self._cumulative = np.cumsum(self._weights)

    def __len__(self) -> int:
        return len(self._ids)

    def one(self, rng: np.random.Generator) -> str:
        """One id."""
        (place,) = self._places(rng, 1)
        return self._ids[place]

    def distinct(self, rng: np.random.Generator, count: int) -> list[str]:
        """`count` different ids (all of them where there are fewer), the order drawn too."""
        if 4 * count > len(self._ids):
            # a race of exponential clocks is the same draw without replacement, at a cost of len(ids)
            finish = rng.exponential(size=len(self._ids)) / self._weights
            return [self._ids[i] for i in np.argsort(finish)[:count]]
        seen: dict[int, None] = {}
        while len(seen) < count:
            seen.update(dict.fromkeys(self._places(rng, 2 * count)))
        return [self._ids[i] for i in list(seen)[:count]]

    def _places(self, rng: np.random.Generator, count: int) -> list[int]:
        draws = rng.random(count) * self._cumulative[-1]
        places: list[int] = np.searchsorted(self._cumulative, draws, side="right").tolist()
        return places
