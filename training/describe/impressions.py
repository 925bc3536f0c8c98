"""The prepared data, some rows at a time: memory holds one chunk, the tables' counts, and one column of each table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.crossing import cross_ids
from contract.schema import Field, Kind, Side
from training.datasets.prepared import ROW_NUMBER, SPLITS, Prepared, SplitName, encoded_columns
from training.describe.counts import Counts, Target, Weights, channels

ROWS = 262_144  # of a chunk: two row groups
SLICES, SLICE = 64, 4096  # of the sample of training

Values = NDArray[Any]  # [n, slots]: int32 ids, or float32 numbers in one slot


@dataclass(frozen=True)
class Impressions:
    """What is asked, of which data; `watch` is told of rows as they are read."""

    data: Prepared
    targets: tuple[Target, ...]
    watch: Callable[[int], None]

    @property
    def width(self) -> int:
        """Number of channels."""
        return 1 + 2 * len(self.targets)

    def chunks(self, split: SplitName, columns: Sequence[str] | None = None) -> Iterator[tuple[pl.DataFrame, Weights]]:
        """Columns (None: all) of the impressions of a split, and their channels."""
        labels = [f"label:{target.task.name}" for target in self.targets]
        wanted = None if columns is None else list(dict.fromkeys([*columns, *labels]))
        for frame in _chunks(self.data.path / "interactions" / split, wanted):
            yield frame, channels(self.targets, self.data.by_task(frame, "label"), len(frame))
            self.watch(len(frame))

    def stored(self, side: Side, column: str) -> Iterator[tuple[int, pl.Series]]:
        """A column of users/ or items/, and the row number that each chunk begins with."""
        start = 0
        for frame in _chunks(self.data.path / f"{side.value}s", [column]):
            yield start, frame[column]
            start += len(frame)
            self.watch(len(frame))

    def with_moment(self, field: Field) -> bool:
        """Whether a field's values come with the impressions."""
        return field.name in self.data.interactions("train").collect_schema()

    def values(
        self, field: Field, tables: dict[Side, Counts], splits: Sequence[int] = (0, 1, 2)
    ) -> Iterator[tuple[int, Values, Weights]]:
        """All values of a field: number of the split, values [n, slots] and how they count [channels, n]."""
        if field.cross:
            yield from self._crossed(field, field.cross, splits)
            return
        if self.with_moment(field):
            for number in splits:
                for frame, weights in self.chunks(SPLITS[number], [field.name]):
                    yield number, _matrix(field, frame[field.name]), weights
            return
        for start, series in self.stored(field.side, field.name):
            values = _matrix(field, series)
            for number in splits:
                yield number, values, tables[field.side].sums[number, :, start : start + len(series)]

    def weighted(
        self, field: Field, tables: dict[Side, Counts]
    ) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32], NDArray[Any]]]:
        """Ids and weights of a weighted field, [n, slots] each, and how often each row was shown, [n]."""
        columns = list(encoded_columns(field))
        if self.with_moment(field):
            for number, split in enumerate(SPLITS):
                for frame in _chunks(self.data.path / "interactions" / split, columns):
                    ids, weights = (frame[column].to_numpy() for column in columns)
                    yield number, ids, weights, np.ones(len(frame), bool)
            return
        start = 0
        for frame in _chunks(self.data.path / f"{field.side.value}s", columns):
            ids, weights = (frame[column].to_numpy() for column in columns)
            for number in range(len(SPLITS)):
                yield number, ids, weights, tables[field.side].sums[number, 0, start : start + len(frame)]
            start += len(frame)

    def _crossed(
        self, field: Field, pair: tuple[str, str], splits: Sequence[int]
    ) -> Iterator[tuple[int, Values, Weights]]:
        """Values of a cross, hashed from the ids of two fields; one of users or items is held whole."""
        parts = [self.data.schema.by_name[name] for name in pair]
        held = {
            part.name: self.data.table(part.side).select(part.name).collect()[part.name].to_numpy()
            for part in parts
            if not self.with_moment(part)
        }
        columns = [ROW_NUMBER[part.side] if part.name in held else part.name for part in parts]
        for number in splits:
            for frame, weights in self.chunks(SPLITS[number], columns):
                places = [frame[column].to_numpy() for column in columns]
                left, right = (held[name][at] if name in held else at for name, at in zip(pair, places, strict=True))
                yield number, cross_ids(left, right, field.buckets or 1)[:, None], weights

    def sample(self, field: Field, tables: dict[Side, Counts]) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Values of a number in training, and how many impressions each stands for (None: one)."""
        if self.with_moment(field):
            return sample(self.data, field.name), None
        every = max(1, tables[field.side].sums.shape[2] // (SLICES * SLICE))
        values = self.data.table(field.side).select(pl.col(field.name).gather_every(every)).collect()[field.name]
        return values.to_numpy(), tables[field.side].of(0, 0)[::every]


def sample(data: Prepared, column: str) -> NDArray[np.float32]:
    """Values of a column of the training impressions, evenly over all rows; unknown ones left out."""
    rows = data.description.rows["train"]
    if rows <= SLICES * SLICE:
        found = data.interactions("train").select(column).collect()[column]
    else:
        starts = np.linspace(0, rows - SLICE, SLICES).astype(int)
        train = data.interactions("train").select(column)
        found = pl.concat([train.slice(int(start), SLICE).collect()[column] for start in starts])
    return found.cast(pl.Float32).fill_nan(None).drop_nulls().to_numpy()


def sides_of(data: Prepared) -> dict[Side, str]:
    """The sides whose rows the interactions point to, and the columns of the row numbers."""
    known = data.interactions("train").collect_schema()
    return {side: column for side, column in ROW_NUMBER.items() if column in known}


def _chunks(folder: Path, columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
    for path in sorted(folder.glob("*.parquet")):
        scan = pl.scan_parquet(path, glob=False)
        chosen = scan if columns is None else scan.select(columns)
        for start in range(0, scan.select(pl.len()).collect().item(), ROWS):
            yield chosen.slice(start, ROWS).collect()


def _matrix(field: Field, series: pl.Series) -> Values:
    values: Values = series.to_numpy()
    return values.reshape(len(series), 1 if field.kind is Kind.NUMERIC else field.slots)
