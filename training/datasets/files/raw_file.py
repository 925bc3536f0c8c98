"""Raw tables of files: each file a partition, in chunks; small tables whole."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs

from contract.errors import DataError
from training.datasets.files.compressed import PACKED
from training.datasets.files.csv_file import csv_names, csv_pieces
from training.datasets.files.json_lines import json_names, json_nested, json_pieces
from training.datasets.files.mixed import stacked
from training.datasets.files.parquet_file import parquet_names, parquet_nested, parquet_pieces
from training.datasets.files.raw_folder import Keys, RawFile, files_of
from training.datasets.partitions import CHUNK, Chunk, Rejected, Table
from training.datasets.raw import RawTable

BLOCK = 1 << 24  # bytes of text that are parsed at once
MOST_REJECTED = 100_000  # in a chunk; more are no accident
_SAMPLE, _LEAST_SAMPLE = 1 << 22, 1 << 16  # bytes of JSON lines that are searched for names: in all, and in a file


@dataclass(frozen=True)
class FilePartition:
    """A file of a raw table; `alone`: a table must have rows."""

    path: Path
    name: str  # inside the table
    columns: tuple[str, ...]
    keys: Keys
    size: int
    changed: int  # nanoseconds
    alone: bool

    @property
    def identity(self) -> str:
        """Name, size and time of change."""
        return f"{self.name}:{self.size}:{self.changed}"

    def chunks(self) -> Iterator[Chunk]:
        """All chunks; DataError where the file cannot be read, or has no rows and is the only one."""
        lacks = set[str]()
        if _kind(self.path) == "parquet":
            lacks = set(self.columns) - set(parquet_names(self.path)) - {key for key, _ in self.keys}
        for chunk in regrouped(self.pieces(), CHUNK):
            notes = {f"rows of files without column '{name}'": len(chunk.frame) for name in sorted(lacks)}
            typed = chunk.frame.with_columns(cs.by_dtype(pl.Null).cast(pl.String))
            yield replace(chunk, frame=typed, notes=notes)

    def require(self, columns: Collection[str]) -> None:
        """DataError where a Parquet file lacks one of these columns, which other files have."""
        if _kind(self.path) == "parquet":
            known = {*parquet_names(self.path), *(key for key, _ in self.keys)}
            if absent := sorted(set(columns) - known):
                raise DataError(f"{self.path}: no column '{absent[0]}', which every row needs and other files have")

    def pieces(self) -> Iterator[Chunk]:
        """All rows in pieces of any size."""
        empty = True
        for piece in _pieces(self.path, self.columns):
            empty = False
            yield replace(piece, frame=self._complete(piece.frame))
        if empty and self.alone:
            raise DataError(f"{self.path}: has no rows")

    def _complete(self, frame: pl.DataFrame) -> pl.DataFrame:
        """With the folders' values, and nulls for columns that other files have."""
        absent = [pl.lit(None).alias(name) for name in self.columns if name not in frame.columns]
        given = [pl.lit(value, pl.String).alias(key) for key, value in self.keys if key in self.columns]
        complete = frame.with_columns(absent).with_columns(given)
        return complete.select(self.columns)


def table_of(path: Path, wanted: Collection[str] | None = None, needed: Collection[str] = ()) -> Table:
    """The table of a file, or of all files of a folder, with the wanted columns (None: all that are not nested).

    A Parquet file may lack a column that others have, unless it is `needed`.
    """
    names, partitions = _opened(path, wanted)
    for partition in partitions:
        partition.require(set(needed) & set(names))
    return Table(str(path), names, partitions)


def read_table(path: Path, wanted: Collection[str] | None = None, rows: int | None = None) -> RawTable:
    """Columns as in `table_of`, in memory: the first `rows` rows (None: all); DataError for the first unsound row."""
    names, partitions = _opened(path, wanted)
    frames, left = [], rows
    for piece in (piece for partition in partitions for piece in partition.pieces()):
        if piece.rejected:
            raise refusal(piece.rejected[0])
        frames.append(piece.frame if left is None else piece.frame.head(left))
        left = None if left is None else left - len(frames[-1])
        if left == 0:
            break
    if not frames:
        raise DataError(f"{path}: has no rows")
    return RawTable(str(path), stacked(frames), names)


def refusal(row: Rejected) -> DataError:
    """The error for a row that may not be skipped."""
    line = "" if row.line is None else f" (line {row.line})"
    return DataError(f"{row.where}, row {row.row}{line}: {row.why}")


def regrouped(pieces: Iterable[Chunk], size: int = CHUNK) -> Iterator[Chunk]:
    """The same rows in chunks of `size` rows, but for the last; a rejected row comes with the row behind it."""
    held: list[Chunk] = []
    for piece in pieces:
        held.append(piece)
        if sum(len(chunk.frame) for chunk in held) >= size:
            rest = _joined(held)
            while len(rest.frame) >= size:
                chunk, rest = _cut(rest, size)
                yield chunk
            held = [rest]
        _limit_rejected(held)
    if held and (len(held[0].frame) or any(chunk.rejected for chunk in held) or len(held) > 1):
        yield _joined(held)


def _joined(chunks: list[Chunk]) -> Chunk:
    lines = [chunk.lines for chunk in chunks if chunk.lines is not None]
    return Chunk(
        chunks[0].where,
        stacked([chunk.frame for chunk in chunks]),
        np.concatenate([chunk.rows for chunk in chunks]),
        np.concatenate(lines) if lines else None,
        tuple(row for chunk in chunks for row in chunk.rejected),
    )


def _cut(chunk: Chunk, size: int) -> tuple[Chunk, Chunk]:
    """The first `size` rows, and the rest."""
    before = [row for row in chunk.rejected if row.row < chunk.rows[size - 1]]
    halves = (slice(0, size), tuple(before)), (slice(size, None), chunk.rejected[len(before) :])
    first, rest = (
        Chunk(chunk.where, chunk.frame[part], chunk.rows[part], None if chunk.lines is None else chunk.lines[part], bad)
        for part, bad in halves
    )
    return first, rest


def _limit_rejected(held: list[Chunk]) -> None:
    bad = [row for chunk in held for row in chunk.rejected]
    if len(bad) > MOST_REJECTED:
        raise DataError(f"{refusal(bad[0])}; {len(bad) - 1:,} rows after it cannot be parsed either")


def _opened(path: Path, wanted: Collection[str] | None) -> tuple[tuple[str, ...], list[FilePartition]]:
    """Names of all columns, and a partition a file."""
    files = files_of(path)
    names = tuple(dict.fromkeys(name for known in _names(files) for name in known))
    if wanted is None:
        wanted = set(names) - {name for file in files for name in _nested_in(file.path, _sample_of(files))}
    columns = tuple(name for name in names if name in wanted) or names[:1]
    return names, [_partition(file, columns, len(files) == 1) for file in files]


def _partition(file: RawFile, columns: tuple[str, ...], alone: bool) -> FilePartition:
    stat = file.path.stat()
    return FilePartition(file.path, file.name, columns, file.keys, stat.st_size, stat.st_mtime_ns, alone)


def _names(files: list[RawFile]) -> Iterator[tuple[str, ...]]:
    """Column names of each file; DataError where two CSV files disagree."""
    first: tuple[Path, set[str]] | None = None
    for file in files:
        names = _names_in(file.path, _sample_of(files))
        if _kind(file.path) == "csv":
            first = first or (file.path, set(names))
            if odd := sorted(first[1] ^ set(names)):
                raise DataError(
                    f"{file.path}: column '{odd[0]}' is in its header or in that of {first[0]}, not in both"
                )
        yield (*names, *(key for key, _ in file.keys))


def _sample_of(files: list[RawFile]) -> int:
    return max(_LEAST_SAMPLE, _SAMPLE // len(files))


def _kind(path: Path) -> str:
    suffixes = [suffix for suffix in path.suffixes if suffix not in PACKED]
    return suffixes[-1].removeprefix(".")


def _names_in(path: Path, sample: int) -> tuple[str, ...]:
    if _kind(path) == "csv":
        return csv_names(path)
    return parquet_names(path) if _kind(path) == "parquet" else json_names(path, sample)


def _nested_in(path: Path, sample: int) -> set[str]:
    if _kind(path) == "csv":
        return set()
    return parquet_nested(path) if _kind(path) == "parquet" else json_nested(path, sample)


def _pieces(path: Path, columns: tuple[str, ...]) -> Iterator[Chunk]:
    if _kind(path) == "csv":
        return csv_pieces(path, columns, BLOCK)
    return parquet_pieces(path, columns) if _kind(path) == "parquet" else json_pieces(path, columns, BLOCK)
