"""Which impressions train, validate and test: an int8 per impression, 0, 1 or 2 as in prepared.SPLITS."""

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError
from contract.hashing import hash_values
from contract.schema import Split
from training.datasets.prepared import SPLITS
from training.datasets.stored import Stored


def assign(split: Split, rows: int, user: Stored | None, times: NDArray[np.int64] | None) -> NDArray[np.int8]:
    """Split of each impression; DataError where a part would be empty.

    By time: all impressions of one moment stay together. By user: users ordered by a hash of their key.
    """
    if split.by == "time" and times is not None:
        parts = _by_time(split, times)
    elif split.by == "user" and user is not None:
        order = np.argsort(hash_values([f"{split.seed}:{key}".encode() for key in user.keys]), kind="stable")
        parts = _by_order(split, order)[user.rows]
    else:
        parts = _by_order(split, np.random.default_rng(split.seed).permutation(rows))
    for part, name in enumerate(SPLITS):
        if not (parts == part).any():
            raise DataError(f"the split by {split.by} leaves no rows for {name}; {_advice(split, rows, user, times)}")
    return parts


def _by_order(split: Split, order: NDArray[np.intp]) -> NDArray[np.int8]:
    """First part of the order trains, the next validates, the rest tests."""
    bounds = _bounds(split, len(order))
    parts = np.empty(len(order), np.int8)
    parts[order] = np.searchsorted(bounds, np.arange(len(order)), side="right")
    return parts


def _by_time(split: Split, times: NDArray[np.int64]) -> NDArray[np.int8]:
    first_of_next = np.sort(times)[_bounds(split, len(times))]
    return np.searchsorted(first_of_next, times, side="right").astype(np.int8)


def _bounds(split: Split, n: int) -> NDArray[np.int64]:
    shares = np.array([split.train, split.train + split.validation])
    return np.floor(shares * n + 1e-6).astype(np.int64)  # .7 + .1 must not fall short of .8


def _advice(split: Split, rows: int, user: Stored | None, times: NDArray[np.int64] | None) -> str:
    if split.by == "time" and times is not None:
        return f"{rows} rows have {len(np.unique(times))} distinct times; use more data, or split: {{by: random}}"
    if split.by == "user" and user is not None:
        return f"there are {len(user.keys)} users; use more data, other fractions, or split: {{by: random}}"
    return f"there are {rows} rows; use more data or other fractions"
