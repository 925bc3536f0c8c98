"""A stable 64-bit hash of texts, vectorised in numpy: the same on every machine and in every version.

Each text is read as little-endian 64-bit words, the last one zero-padded; the length is mixed in, so that padding
never matters. The mixing steps are those of splitmix64.
"""

import numpy as np
from numpy.typing import NDArray

from contract.texts import Texts, Words

BLOCK = 65_536  # texts hashed or looked up at a time: its arrays stay in the processor's cache
_M1, _M2, _M3 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


def hash_words(words: Words) -> NDArray[np.uint64]:
    """Hash texts: [n]."""
    state = _mix(words.lengths().astype(np.uint64) + _M3)
    for column, rows in words.columns():
        state[rows] = _mix((state[rows] ^ words.column(column, rows)) + _M3)
    return state


def hash_all(texts: Texts) -> NDArray[np.uint64]:
    """Hash any number of texts, a block at a time: [n]."""
    hashes = np.empty(texts.size, np.uint64)
    for block, start in zip(texts.blocks(BLOCK), range(0, texts.size, BLOCK), strict=True):
        hashes[start : start + block.size] = hash_words(Words(block))
    return hashes


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _M1
    x = (x ^ (x >> np.uint64(27))) * _M2
    return x ^ (x >> np.uint64(31))
