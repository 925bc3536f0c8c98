"""Rows that are there more than once, found by a 62-bit hash of all their columns, sorted in partitions on disk.

Of a hundred million different rows, about one run in a thousand would take two for the same.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.ranks import runs

PARTITION = 8_000_000  # rows sorted at once: 64 MB

Words = NDArray[np.uint64]


class RowHashes:
    """Hashes in files of a folder, each with the number of its split in the lowest two bits."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.paths = [folder / f"{number}.u64" for number in range(max(1, -(-rows // PARTITION)))]

    def add(self, split: int, frame: pl.DataFrame) -> None:
        """Note the rows of a frame."""
        hashes = frame.hash_rows(seed=6).to_numpy()
        marked = hashes & ~np.uint64(3) | np.uint64(split)
        partition = (hashes >> np.uint64(32)) % np.uint64(len(self.paths))
        for number, path in enumerate(self.paths):
            with path.open("ab") as stream:
                marked[partition == number].tofile(stream)

    def repeated(self) -> tuple[list[int], list[int]]:
        """By split: rows equal to an earlier one of it, and rows that training has too."""
        within, trained = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for path in self.paths:
            if path.exists() and path.stat().st_size:
                by_row = _by_row(np.fromfile(path, np.uint64))
                within += np.maximum(0, by_row - 1).sum(axis=1)
                trained += by_row[:, by_row[0] > 0].sum(axis=1)
        trained[0] = 0
        return within.tolist(), trained.tolist()


def _by_row(marked: Words) -> NDArray[np.int64]:
    """How often each distinct row is in each split, [3, rows]."""
    marked.sort()
    starts = runs(marked >> np.uint64(2))
    split = marked & np.uint64(3)
    return np.stack([np.add.reduceat((split == number).astype(np.int64), starts) for number in range(3)])
