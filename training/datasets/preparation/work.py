"""The work folder of an unfinished `prepare`: what one stage leaves for the next, each file or folder whole.

    coded/<partition>/<chunk>/     rows.parquet, values/<column>.parquet, times.npy, rejected.jsonl, facts.json
    coded/<partition>/end          how many chunks the partition has
    <run>/keys/<side>.npz          row numbers of users and items
    <run>/placed/<chunk>/          rows of users and items, split, counts and sums of the training rows
    <run>/measured/<chunk>/        the same counts of a stored table
    <run>/pieces/<side>/           encoded rows of a stored table, out of order
    <run>/result/                  the prepared data set

Folders are named by all that they depend on, so a rerun finds what is still right.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import BaseModel
from pydantic import Field as Attribute

from contract.dictionary import Dictionary
from contract.files import whole_folder, write_text
from training.datasets.partitions import Partition, Rejected
from training.datasets.ranks import Run

CHUNKS = 1 << 16  # of a partition, at most: a chunk's place in the table is one number


class Facts(BaseModel):
    """`facts.json`: where the chunk was read, rows that were coded, rejected, and what the source noted."""

    where: str
    rows: int
    rejected: int = 0
    first_rejected: str | None = None
    notes: dict[str, int] = Attribute(default={})


class CodedChunk(NamedTuple):
    """A chunk on disk; `order` is its place among all chunks of its table."""

    folder: Path
    order: int
    facts: Facts

    def rows(self, *columns: str) -> pl.DataFrame:
        """Its coded columns; all of them where none is named."""
        scan = pl.scan_parquet(self.folder / "rows.parquet", glob=False)
        return (scan.select(columns) if columns else scan).collect()

    def values(self, column: str) -> Path:
        """The file of a column's distinct values, in the order of their codes."""
        return self.folder / "values" / f"{column}.parquet"


@dataclass(frozen=True)
class Work:
    """Paths in the work folder; `run` names what the later stages depend on."""

    root: Path
    run: str = ""

    def partition(self, table: str, number: int, meaning: str, partition: Partition) -> Path:
        """The folder of a partition's chunks."""
        return self.root / "coded" / f"{table}-{number:05d}-{digest(table, str(number), meaning, partition.identity)}"

    def keys(self, side: str) -> Path:
        """The file of a side's row numbers."""
        return self.root / self.run / "keys" / f"{side}.npz"

    def shown(self, side: str) -> Path:
        """How often each split showed each row of a side, [rows, splits]."""
        return self.keys(side).with_name(f"{side}-shown.npy")

    def placed(self, chunk: CodedChunk) -> Path:
        """What the second look at a chunk of the interactions leaves."""
        return self.root / self.run / "placed" / f"{chunk.order:012d}"

    def measured(self, chunk: CodedChunk) -> Path:
        """Counts of a stored table's chunk."""
        return self.root / self.run / "measured" / f"{chunk.folder.parent.name}-{chunk.folder.name}"

    def pieces(self, side: str) -> Path:
        """Encoded rows of a stored table."""
        return self.root / self.run / "pieces" / side

    @property
    def merging(self) -> Path:
        """For the files of external merges."""
        return self.root / self.run / "merge"

    @property
    def result(self) -> Path:
        """The data set that is being written."""
        return self.root / self.run / "result"

    def sweep(self) -> None:
        """Remove the files that a process was killed over, from the result."""
        for file in self.result.rglob(".*.part"):
            file.unlink()


def digest(*parts: str) -> str:
    """A short name for all of these together."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def save_chunk(
    folder: Path,
    number: int,
    columns: Mapping[str, pl.Series],
    values: Mapping[str, pl.Series],
    times: Run | None,
    rejected: Sequence[Rejected],
    facts: Facts,
) -> CodedChunk:
    """Write a chunk's folder whole."""
    order = place_of(folder, number)
    with whole_folder(folder / f"{number:05d}") as temporary:
        pl.DataFrame(dict(columns)).write_parquet(temporary / "rows.parquet", compression="lz4")
        (temporary / "values").mkdir()
        for name, distinct in values.items():
            once = pl.Series("first", order << 24 | np.arange(len(distinct), dtype=np.int64))
            frame = pl.DataFrame([distinct.alias("value"), pl.Series("count", np.ones(len(distinct), np.int64)), once])
            frame.write_parquet(temporary / "values" / f"{name}.parquet", compression="lz4")
        if times is not None:
            np.save(temporary / "times.npy", times.array())
        lines = (json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rejected)
        (temporary / "rejected.jsonl").write_text("".join(lines), encoding="utf-8")
        (temporary / "facts.json").write_text(facts.model_dump_json())
    return CodedChunk(folder / f"{number:05d}", order, facts)


def saved_chunks(folder: Path) -> Iterator[CodedChunk]:
    """The chunks of a partition that are there, from the first on."""
    number = 0
    while (file := folder / f"{number:05d}" / "facts.json").is_file():
        yield CodedChunk(file.parent, place_of(folder, number), Facts.model_validate_json(file.read_bytes()))
        number += 1


def place_of(folder: Path, number: int) -> int:
    """A chunk's place in its table, from the partition's number in the folder's name."""
    return int(folder.name.rsplit("-", 2)[1]) * CHUNKS + number


def end(folder: Path, chunks: int) -> None:
    """Note that a partition has been read to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "end", str(chunks))


def ended(folder: Path) -> bool:
    """Whether it has."""
    return (folder / "end").is_file()


def dictionary_at(path: Path) -> Dictionary:
    """A dictionary of this run, loaded once a process."""
    return _loaded(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _loaded(path: Path, _changed: int) -> Dictionary:
    return Dictionary.load(path)
