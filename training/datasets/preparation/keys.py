"""Which users and items there are: row numbers in the order of an earlier data set, the own table, the interactions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.dictionary import Dictionary
from contract.errors import DataError
from contract.schema import Side
from training.datasets.merge import in_order_of_appearance, merged
from training.datasets.partitions import CHUNK, Chunk
from training.datasets.preparation.work import CodedChunk, Work, dictionary_at
from training.datasets.prepared import KEY, ROW_NUMBER, Prepared
from training.datasets.texts import joined, unpacked


@dataclass(frozen=True)
class Rows:
    """Where the rows of one side come from: to `before` an earlier data set, to `own` the table, to `count` the log."""

    before: int
    own: int
    count: int


def number_rows(
    side: Side,
    own: Sequence[CodedChunk],
    interactions: Sequence[CodedChunk],
    work: Work,
    earlier: Prepared | None,
) -> Rows:
    """Write the row numbers of a side; DataError where an id is in its own table twice."""
    base = Dictionary.build({}) if earlier is None else _known(earlier, side)
    files = [chunk.values(ROW_NUMBER[side]) for chunk in own]
    _refuse_twice(files, own, side, work)
    with_own = base.extended_by(in_order_of_appearance(files, work.merging)) if files else base
    met = [chunk.values(ROW_NUMBER[side]) for chunk in interactions]
    complete = with_own.extended_by(in_order_of_appearance(met, work.merging))
    complete.save(work.keys(side))
    return Rows(len(base), len(with_own), len(complete))


def _known(earlier: Prepared, side: Side) -> Dictionary:
    keys = earlier.table(side).select(KEY).collect()[KEY]
    return Dictionary.ordered(joined(keys))


def _refuse_twice(files: Sequence[Path], chunks: Sequence[CodedChunk], side: Side, work: Work) -> None:
    """Inside a chunk that was seen when it was coded."""
    if len(files) < 2:
        return
    for part in merged(files, work.merging):
        twice = part.filter(pl.col("count") > 1)
        if len(twice):
            raise DataError(_said(twice["value"].sort()[0], chunks, side))


def _said(key: str, chunks: Sequence[CodedChunk], side: Side) -> str:
    found = [chunk for chunk in chunks if key in pl.read_parquet(chunk.values(ROW_NUMBER[side]), glob=False)["value"]]
    again = found[1].facts
    return f"{again.where}: the id {key!r} appeared before, in {found[0].facts.where}; give each id one row"


def rows_of(chunk: CodedChunk, side: Side, codes: pl.Series, work: Work) -> NDArray[np.int32]:
    """Row numbers of the users or items of a chunk, [rows]."""
    keys = pl.read_parquet(chunk.values(ROW_NUMBER[side]), columns=["value"], glob=False)["value"]
    ids = dictionary_at(work.keys(side)).encode_texts(joined(keys))
    found: NDArray[np.int32] = np.concatenate([np.zeros(1, np.int32), ids])[codes.to_numpy()] - np.int32(1)
    return found


@dataclass(frozen=True)
class Tail:
    """Users or items that only the interactions know, as a partition of their table: a key, and nothing else."""

    where: str
    keys: Path
    start: int
    stop: int
    column: str
    others: tuple[str, ...]

    @property
    def identity(self) -> str:
        """The ids themselves: they follow from all other chunks."""
        return f"{self.keys}:{self.start}:{self.stop}:{dictionary_at(self.keys).lineage}"

    def chunks(self) -> Iterator[Chunk]:
        """As many as are needed."""
        known = dictionary_at(self.keys)
        for start in range(self.start, self.stop, CHUNK):
            ids = unpacked(known.texts, start, min(start + CHUNK, self.stop))
            empty = {name: pl.Series([None] * len(ids), dtype=pl.String) for name in self.others}
            frame = pl.DataFrame({self.column: ids} | empty)
            yield Chunk(self.where, frame, np.arange(start + 1, start + len(ids) + 1))
