"""A stable 64-bit hash of strings, vectorised in numpy: the same on every machine and in every version.

Each value is read as little-endian 64-bit words, the last one zero-padded; the length is mixed in, so that padding
never matters. The mixing steps are those of splitmix64.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_M1, _M2, _M3 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


def byte_matrix(values: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Values as rows of a zero-padded matrix [n, 8k] and their lengths [n]."""
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    width = max(8, -(-int(lengths.max(initial=0)) // 8) * 8)
    return np.array(values, dtype=f"S{width}").view(np.uint8).reshape(len(values), width), lengths


def hash_matrix(matrix: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash each row of a `byte_matrix`: [n] uint64."""
    words = matrix.view("<u8").astype(np.uint64, copy=False)  # [n, k]
    state = _mix(lengths.astype(np.uint64) + _M3)
    for column in range(words.shape[1]):
        mixed = _mix((state ^ words[:, column]) + _M3)
        state = np.where(lengths > 8 * column, mixed, state)
    return state


def hash_values(values: Sequence[bytes]) -> NDArray[np.uint64]:
    """Hash byte strings: [n] uint64."""
    return hash_matrix(*byte_matrix(values)) if len(values) else np.empty(0, np.uint64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _M1
    x = (x ^ (x >> np.uint64(27))) * _M2
    return x ^ (x >> np.uint64(31))
