"""Packed rows as `contract.rows` writes them, read where `contract` cannot be imported. Imports numpy alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rows:
    """Decoder of one side's packed rows: int32 ids, float32 numerics, a check word; defaults for what is unsound."""

    def __init__(self, side: dict[str, Any]) -> None:
        self.start: str = side["keys"]  # of every key
        self._ids = np.array(side["ids"], np.int32)
        self._dense = np.array(side["dense"], np.float32)
        self._words = len(self._ids) + len(self._dense) + 1
        self._weights = 2 * np.arange(self._words - 1, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(0x85EBCA77)
        self._seed = np.uint32(side["seed"])

    def keys(self, names: Sequence[str]) -> list[str]:
        """Where the rows of these users or items are."""
        return [self.start + name for name in names]

    def decode(self, rows: Sequence[bytes | None]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Ids [n, slots] and numerics [n, numerics]; None is a row that is absent."""
        fits = np.array([row is not None and len(row) == 4 * self._words for row in rows], bool)
        packed = b"".join(row for row, fit in zip(rows, fits, strict=True) if row is not None and fit)
        words = np.frombuffer(packed, "<u4").reshape(-1, self._words)
        body = words[:, :-1]
        sound = (body * self._weights).sum(axis=1, dtype=np.uint32) + self._seed == words[:, -1]
        found = np.flatnonzero(fits)[sound]
        ids, dense = np.tile(self._ids, (len(rows), 1)), np.tile(self._dense, (len(rows), 1))
        ids[found] = body[sound, : self._ids.size].view("<i4")
        dense[found] = body[sound, self._ids.size :].view("<f4")
        return ids, dense
