"""A stable 64-bit hash of texts, vectorised in numpy: the same on every machine and in every version.

Each text is read as little-endian 64-bit words, the last one zero-padded; the length is mixed in, so that padding
never matters. The mixing steps are those of splitmix64.
"""

import numpy as np
from numpy.typing import NDArray

from contract.texts import Texts, matrices

_M1, _M2, _M3 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


def hash_all(texts: Texts) -> NDArray[np.uint64]:
    """Hash texts: [n]."""
    hashes = np.empty(texts.size, np.uint64)
    for rows, words, lengths in matrices(texts):
        hashes[rows] = hash_words(words, lengths)
    return hashes


def hash_words(words: NDArray[np.uint64], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash texts given as words [n, width]: [n]."""
    state = mix(lengths.astype(np.uint64) + _M3)
    for column in range(words.shape[1]):
        mixed = mix((state ^ words[:, column]) + _M3)
        state = np.where(lengths > 8 * column, mixed, state)
    return state


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The mixing steps of splitmix64: a bijection, so different numbers stay different."""
    x = (x ^ (x >> np.uint64(30))) * _M1
    x = (x ^ (x >> np.uint64(27))) * _M2
    return x ^ (x >> np.uint64(31))
