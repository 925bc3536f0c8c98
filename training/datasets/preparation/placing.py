"""Second look at the interactions: row numbers of users and items, the part each row falls to, what training rows say.

`placed/<chunk>/` then holds rows.parquet (`:user`, `:item`, `:part`), a file of counts or runs a field, and for each
side `<side>-shown.npy` (row · 3 + split, and how often that split showed the row) and `<side>-last.npy` (see `Last`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from contract.files import whole_folder
from contract.schema import Field, Schema, Side
from training.datasets.preparation.coding import SPLIT, TIME
from training.datasets.preparation.days import count_days, days_of
from training.datasets.preparation.keys import rows_of
from training.datasets.preparation.measuring import Moments, measure
from training.datasets.preparation.work import CodedChunk, Work
from training.datasets.prepared import ROW_NUMBER, SPLITS, Days
from training.datasets.splits import Bounds, Rows

PART = ":part"


class Placing(NamedTuple):
    """A chunk to be placed; `start`: rows of the log before it."""

    chunk: CodedChunk
    start: int
    schema: Schema
    fields: tuple[Field, ...]  # of the moment
    sides: tuple[Side, ...]
    bounds: Bounds
    work: Work


class Placed(BaseModel):
    """What came of it: rows a part; and of the training rows useful labels a task, and moments of numbers."""

    rows: tuple[int, ...]
    useful: dict[str, int]
    moments: dict[str, Moments]
    days: Days | None  # None: no time, or one that is no date


class Last(NamedTuple):
    """The last row of each user or item in a chunk: row number, time, and place in the chunk."""

    row: NDArray[np.int64]
    time: NDArray[np.int64]
    place: NDArray[np.int64]


def place(unit: Placing) -> Iterator[Placed]:
    """Place one chunk, unless an earlier run has."""
    facts = unit.work.placed(unit.chunk) / "facts.json"
    if facts.is_file():
        yield Placed.model_validate_json(facts.read_bytes())
        return
    with whole_folder(unit.work.placed(unit.chunk)) as folder:
        placed = _placed(unit, folder)
        (folder / "facts.json").write_text(placed.model_dump_json())
    yield placed


def _placed(unit: Placing, folder: Path) -> Placed:
    known = _known(unit)
    rows = {side: rows_of(unit.chunk, side, known[ROW_NUMBER[side]], unit.work) for side in unit.sides}
    times, given = (known[name].to_numpy() if name in known.columns else None for name in (TIME, SPLIT))
    parts = unit.bounds.parts(Rows(unit.start, len(known), rows.get(Side.USER), times, given))
    train = parts == 0
    columns = {ROW_NUMBER[side]: pl.Series(found) for side, found in rows.items()} | {PART: pl.Series(parts)}
    pl.DataFrame(columns).write_parquet(folder / "rows.parquet", compression="lz4")
    for side, found in rows.items():
        cells = found.astype(np.int64) * len(SPLITS) + parts
        np.save(folder / f"{side}-shown.npy", np.stack(np.unique(cells, return_counts=True)))
        np.save(folder / f"{side}-last.npy", np.stack(_last(found, times)))
    moments = measure(unit.chunk, unit.fields, train.astype(np.int64), folder)
    counts = tuple(np.bincount(parts, minlength=len(SPLITS)).tolist())
    days = None if times is None else days_of(times)
    by_day = None if days is None else count_days(days, parts, unit.schema.tasks, known)
    return Placed(rows=counts, useful=_useful(unit.schema, known, train), moments=moments, days=by_day)


def _known(unit: Placing) -> pl.DataFrame:
    """What the place of a row depends on."""
    labels = [f"label:{task.name}" for task in unit.schema.tasks]
    columns = pl.scan_parquet(unit.chunk.folder / "rows.parquet", glob=False)
    names = columns.collect_schema().names()
    return columns.select(name for name in (*labels, *ROW_NUMBER.values(), TIME, SPLIT) if name in names).collect()


def _useful(schema: Schema, known: pl.DataFrame, train: NDArray[np.bool_]) -> dict[str, int]:
    """How many training rows a task can learn from: with a 1, or with any value of a continuous label."""
    found = {}
    for task in schema.tasks:
        labels = known[f"label:{task.name}"].to_numpy()[train]
        found[task.name] = int((labels == 1).sum() if task.kind == "binary" else (~np.isnan(labels)).sum())
    return found


def _last(rows: NDArray[np.int32], times: NDArray[np.int64] | None) -> Last:
    moments = np.zeros(len(rows), np.int64) if times is None else times
    order = np.lexsort((moments, rows))  # stable
    ends = np.flatnonzero(np.diff(rows[order], append=-1))
    last = order[ends]
    return Last(rows[last].astype(np.int64), moments[last], last.astype(np.int64))


def winners(chunks: Sequence[CodedChunk], side: Side, count: int, work: Work) -> NDArray[np.int32]:
    """Which chunk, by place in `chunks`, holds the last row of each user or item: [count]; -1 where none does."""
    chunk, time = np.full(count, -1, np.int32), np.full(count, np.iinfo(np.int64).min)
    for number, each in enumerate(chunks):
        last = Last(*np.load(work.placed(each) / f"{side}-last.npy"))
        later = last.time >= time[last.row]
        chunk[last.row[later]], time[last.row[later]] = number, last.time[later]
    return chunk


def shown(chunks: Sequence[CodedChunk], side: Side, count: int, work: Work) -> NDArray[np.int64]:
    """How many impressions each user or item has in each split, [count, splits]."""
    found = np.zeros(count * len(SPLITS), np.int64)
    for each in chunks:
        cells, times = np.load(work.placed(each) / f"{side}-shown.npy")
        found[cells] += times
    return found.reshape(count, len(SPLITS))
