"""Raw tables → coded chunks; bad rows are counted against what may be skipped."""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from contract.errors import DataError
from contract.schema import Schema, Side
from training.datasets.preparation.coding import Coding, Unit, code_partition
from training.datasets.preparation.mapping import Mapper
from training.datasets.preparation.places import AnyTable, Places
from training.datasets.preparation.progress import Stage
from training.datasets.preparation.work import CodedChunk, Work
from training.datasets.raw import Raw

Chunks = dict[str, list[CodedChunk]]  # by table
_DATES = 2.6e17  # microseconds up to the year 9999: as bits of a float they are next to 0
TABLE = {Side.USER: "users", Side.ITEM: "items"}


@dataclass
class Reading:
    """The first stage of one run."""

    raw: Raw
    places: Places
    work: Work
    skip: int  # bad rows at most
    seen: list[CodedChunk] = field(default_factory=list)  # those without a good row, too

    def chunks(self, mapper: Mapper, stage: Stage) -> Chunks:
        """Code every table; DataError where one is empty, cannot be read or has more bad rows than may be skipped."""
        tables = self._tables()
        found: Chunks = {name: [] for name in tables}
        units = [unit for name, table in tables.items() for unit in self._units(name, table)]
        bad = 0
        for chunk in mapper(code_partition, units):
            found[_table_of(chunk)].append(chunk)
            self.seen.append(chunk)
            bad += chunk.facts.rejected
            if bad > self.skip:
                raise DataError(self._too_many(bad, chunk))
            stage.advance(chunk.facts.rows)
        for name, table in tables.items():
            if not any(chunk.facts.rows for chunk in found[name]):
                raise DataError(f"{table.where}: has no rows")
        if self.raw.schema.time is not None:
            _refuse_mixed_times(self.raw.schema.time, found["interactions"])
        return {name: [chunk for chunk in chunks if chunk.facts.rows] for name, chunks in found.items()}

    def more(self, name: str, table: AnyTable, mapper: Mapper) -> list[CodedChunk]:
        """Code a table that came up later."""
        return list(mapper(code_partition, list(self._units(name, table))))

    def _tables(self) -> dict[str, AnyTable]:
        own = {Side.USER: self.raw.users, Side.ITEM: self.raw.items}
        tables: dict[str, AnyTable] = {"interactions": self.raw.interactions}
        return tables | {TABLE[side]: table for side in self.places.keys if (table := own[side]) is not None}

    def _units(self, name: str, table: AnyTable) -> Iterable[Unit]:
        coding = coding_of(self.raw.schema, self.places, name, tuple(table.names), self.skip)
        start = 1 << 19 if name.endswith("-tail") else 0
        return (Unit(coding, start + n, part, self.work) for n, part in enumerate(table.partitions))

    def _too_many(self, bad: int, chunk: CodedChunk) -> str:
        first = chunk.facts.first_rejected or f"{chunk.facts.where}: bad rows"
        if not self.skip:
            return first
        return f"{first}; that is bad row {bad} where --skip-bad allows {self.skip}: mend the file, or allow more"


def coding_of(schema: Schema, where: Places, table: str, names: tuple[str, ...], skip: int) -> Coding:
    """What is read of a table."""
    if table == "interactions":
        return Coding(table, schema, names, where.moment, where.keys, skip)
    side = next(side for side, name in TABLE.items() if table.startswith(name))
    return Coding(table, schema, names, where.stored[side], {side: where.keys[side]}, skip)


def _refuse_mixed_times(column: str, chunks: Sequence[CodedChunk]) -> None:
    """Dates and numbers have no common order; inside a chunk that was seen when it was coded."""
    kinds: dict[bool, str] = {}
    for chunk in chunks:
        ends = np.load(chunk.folder / "times.npy", mmap_mode="r")[0, [0, -1]] if chunk.facts.rows else np.zeros(2)
        if ends.any():
            kinds.setdefault(bool((abs(ends) < _DATES).all()), chunk.facts.where)
    if len(kinds) == 2:
        raise DataError(f"{kinds[False]}: column '{column}' holds numbers, and dates in {kinds[True]}; write all alike")


def _table_of(chunk: CodedChunk) -> str:
    return chunk.folder.parent.name.rsplit("-", 2)[0]


def notes(chunks: Sequence[CodedChunk]) -> dict[str, int]:
    """What the source noted, summed."""
    total: Counter[str] = Counter()
    for chunk in chunks:
        total.update(chunk.facts.notes)
    return dict(total)


def gather_rejected(chunks: Sequence[CodedChunk], file: Path) -> int:
    """Write the rejected rows of all chunks to one file, if there are any; returns how many."""
    bad = [chunk for chunk in chunks if chunk.facts.rejected]
    if bad:
        with file.open("wb") as target:
            for chunk in bad:
                with (chunk.folder / "rejected.jsonl").open("rb") as source:
                    shutil.copyfileobj(source, target)
    return sum(chunk.facts.rejected for chunk in bad)
