"""The tables of users and items as packed rows, a chunk at a time: no table is ever held whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from contract.rows import Layout, layout
from contract.schema import Side
from training.datasets.prepared import KEY, Prepared, dense_matrix, ids_matrix

CHUNK = 16_384  # rows that are encoded and sent at once
_BLOCK = 131_072  # rows that are read at once: a row group, at most
_SAMPLES, _SAMPLE = 16, 16  # stretches of a table, and keys of each


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, as they lie in Redis."""

    keys: list[bytes]
    rows: list[bytes]
    end: int  # number of the row after the last


class StoredTable:
    """Users or items of a prepared data set."""

    def __init__(self, prepared: Prepared, side: Side) -> None:
        self._layout = layout(prepared.schema, prepared.dictionaries, side)
        parts = sorted((prepared.path / f"{side.value}s").glob("*.parquet"))
        self._parts: list[tuple[Path, int]] = [(part, _rows_of(part)) for part in parts]

    def __len__(self) -> int:
        return sum(rows for _, rows in self._parts)

    def chunks(self, start: int) -> Iterator[Rows]:
        """Rows from number `start` on, encoded."""
        for first, block in self._blocks(start):
            for place in range(0, len(block), CHUNK):
                chunk = block[place : place + CHUNK]
                yield Rows(_keys(chunk), encode(self._layout, chunk), first + place + len(chunk))

    def sample(self) -> list[bytes]:
        """Keys from all over the table."""
        size = len(self)
        if size <= _SAMPLES * _SAMPLE:
            return [key for _, block in self._blocks(0) for key in _keys(block)]
        starts = [i * (size - _SAMPLE) // (_SAMPLES - 1) for i in range(_SAMPLES)]
        return [key for start in starts for key in _keys(next(self._read(start, _SAMPLE, pl.col(KEY)))[1])]

    def _blocks(self, start: int) -> Iterator[tuple[int, pl.DataFrame]]:
        return self._read(start, _BLOCK, pl.all())

    def _read(self, start: int, size: int, columns: pl.Expr) -> Iterator[tuple[int, pl.DataFrame]]:
        """Frames of at most `size` rows, from row `start` on, each with the number of its first row."""
        first = 0
        for part, rows in self._parts:
            for place in range(max(0, start - first), rows, size):
                yield first + place, pl.scan_parquet(part, glob=False).slice(place, size).select(columns).collect()
            first += rows


def encode(shape: Layout, chunk: pl.DataFrame) -> list[bytes]:
    """Packed rows."""
    columns = {name: chunk[name] for name in chunk.columns}
    return shape.encode(ids_matrix(columns, shape.fields, len(chunk)), dense_matrix(columns, shape.fields, len(chunk)))


def _keys(frame: pl.DataFrame) -> list[bytes]:
    return list(map(str.encode, frame[KEY].cast(pl.String).to_list()))


def _rows_of(part: Path) -> int:
    rows: int = pl.scan_parquet(part, glob=False).select(pl.len()).collect().item()
    return rows
