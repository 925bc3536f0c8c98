"""Rows that repeat."""

from pathlib import Path

import polars as pl
import pytest

from training.describe import duplicates
from training.describe.duplicates import RowHashes


@pytest.mark.parametrize("partition", [8_000_000, 7])
def test_planted_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: int) -> None:
    monkeypatch.setattr(duplicates, "PARTITION", partition)
    train = pl.DataFrame({"a": [*range(30), 1, 1, 2], "b": [[i, 0] for i in [*range(30), 1, 1, 2]]})
    hashes = RowHashes(tmp_path, 60)
    assert (len(hashes.paths) > 1) == (partition == 7)
    hashes.add(0, train[:20])
    hashes.add(0, train[20:])
    hashes.add(1, pl.DataFrame({"a": [100, 100, 5], "b": [[0, 0], [0, 0], [5, 0]]}))
    hashes.add(2, pl.DataFrame({"a": [7, 7, 8], "b": [[7, 0], [7, 0], [9, 0]]}))
    assert hashes.repeated() == ([3, 1, 1], [0, 1, 2])


def test_no_rows(tmp_path: Path) -> None:
    assert RowHashes(tmp_path, 0).repeated() == ([0, 0, 0], [0, 0, 0])
