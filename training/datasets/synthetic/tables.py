"""A synthetic log as raw tables in partitions, which are ranges of rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.datasets.partitions import CHUNK, Chunk, Table
from training.datasets.raw import Raw
from training.datasets.synthetic.fields import synthetic_schema
from training.datasets.synthetic.log import Block, Log, world_of
from training.datasets.synthetic.population import (
    CATALOGUES,
    CROSSES,
    HISTORIES,
    INTENTIONS,
    MOMENTS,
    PROFILES,
    Things,
    sizes,
)
from training.datasets.synthetic.spec import Ints, Spec

PARTITION = 8 * CHUNK  # rows
SIDE_BLOCK = 65_536  # users or items drawn at a time
TARGETS = ("click", "conversion", "truth:ctr", "truth:cvr", "truth:conversion_time")
LATE = "conversions after the log's end, labelled 0"
PREFIXES = {"category": "c", "shop": "shop", "brand": "b", "scene": "s", "intention": "n"}  # of `aliccp`'s names

Kind = Literal["interactions", "users", "items"]


@dataclass(frozen=True)
class Rows:
    """Rows start to stop of one table of a spec."""

    spec: Spec
    table: Kind
    start: int
    stop: int
    chunk: int = CHUNK

    @property
    def identity(self) -> str:
        """The spec and the range."""
        return f"{self.spec}, {self.table} {self.start} to {self.stop}, generator {GENERATOR}"

    def chunks(self) -> Iterator[Chunk]:
        """Drawn in blocks, cut to chunks."""
        first = self.start + 1
        for frame in _cut(self._frames(), self.chunk):
            rows = np.arange(first, first + len(frame))
            yield Chunk(f"synthetic {self.table}", frame, rows, notes=self._notes(frame))
            first += len(frame)

    def _notes(self, frame: pl.DataFrame) -> dict[str, int]:
        if self.table != "interactions" or self.spec.late == "kept":
            return {}
        late = frame.filter((pl.col("conversion") == 0) & pl.col("truth:conversion_time").is_not_null())
        return {LATE: len(late)} if len(late) else {}

    def _frames(self) -> Iterator[pl.DataFrame]:
        """Blocks, or the parts of them that are in the range."""
        size = Log(self.spec).block_rows if self.table == "interactions" else SIDE_BLOCK
        for number in range(self.start // size, -(-self.stop // size)):
            first, last = number * size, min((number + 1) * size, self.stop)
            yield self._frame(number, first, last)[max(0, self.start - first) : last - first]

    def _frame(self, number: int, first: int, last: int) -> pl.DataFrame:
        if self.table == "interactions":
            return interactions(self.spec, Log(self.spec).block(number))
        draw = users if self.table == "users" else items
        return draw(self.spec, np.arange(first, last))


GENERATOR = 2  # counted up when the same spec gives other rows


def draw(spec: Spec, chunk: int = CHUNK, partition: int = PARTITION) -> Raw:
    """The raw tables of a spec; the rows do not depend on `chunk` and `partition`."""
    return Raw(
        spec.describe(),
        synthetic_schema(spec.shape),
        _table(spec, "interactions", spec.rows, chunk, partition),
        _table(spec, "users", spec.users, chunk, partition),
        _table(spec, "items", spec.items, chunk, partition),
    )


def interactions(spec: Spec, block: Block) -> pl.DataFrame:
    """A block as raw columns: names as texts, truth beside the labels."""
    requests, request = block.requests, block.request
    moments = {"scene": requests.scene, "hour": 1 + requests.time % 86_400 // 3_600}
    came = block.conversion if spec.late == "kept" else block.conversion & (block.conversion_time < spec.end)
    columns = {
        "user_id": _numbered("u", requests.user).gather(request),
        "item_id": _item_names(spec.items).gather(block.item),
        "timestamp": pl.Series(requests.time[request]),
        **{name: _named(spec, name, moments[name]).gather(request) for name in MOMENTS[spec.shape]},
        **{name: _named(spec, name, codes) for name, codes in block.crosses.items()},
        "position": pl.Series(block.position),
        "click": pl.Series(block.click.astype(np.int8)),
        "conversion": pl.Series(came.astype(np.int8)),
        "truth:ctr": pl.Series(block.truth[0].astype(np.float32)),
        "truth:cvr": pl.Series(block.truth[1].astype(np.float32)),
        "truth:conversion_time": pl.Series(block.conversion_time),
    }
    known = pl.when(pl.col("truth:conversion_time") > 0).then(pl.col("truth:conversion_time"))
    return pl.DataFrame(columns).with_columns(known)


def users(spec: Spec, numbers: Ints) -> pl.DataFrame:
    """The users of these numbers as raw columns."""
    drawn = world_of(spec.population).population.users(numbers)
    columns = {"user_id": _numbered("u", numbers)}
    columns |= {name: _named(spec, name, drawn.codes[name]) for name in PROFILES[spec.shape]}
    columns |= {
        f"history_{name}": _lists(_names(PREFIXES[name], size), drawn.lists[name]) for name, size in _histories(drawn)
    }
    columns |= {name: pl.Series(values.astype(np.int64)) for name, values in drawn.numbers.items()}
    return pl.DataFrame(columns)


def items(spec: Spec, numbers: Ints) -> pl.DataFrame:
    """The items of these numbers as raw columns."""
    population = world_of(spec.population).population
    drawn = population.items(numbers)
    columns = {"item_id": _numbered("i", numbers)}
    columns |= {name: _named(spec, name, drawn.codes[name]) for name in CATALOGUES[spec.shape]}
    if spec.shape == "aliccp":
        codes = population.intentions(numbers, drawn.codes["category"])
        columns["intention"] = _lists(_names(PREFIXES["intention"], INTENTIONS), codes)
    return pl.DataFrame(columns | {name: pl.Series(values) for name, values in drawn.numbers.items()})


def _table(spec: Spec, kind: Kind, rows: int, chunk: int, partition: int) -> Table:
    starts = range(0, rows, partition)
    parts = tuple(Rows(spec, kind, start, min(start + partition, rows), chunk) for start in starts)
    return Table(f"synthetic {kind}", _columns(spec, kind), parts)


def _columns(spec: Spec, kind: Kind) -> tuple[str, ...]:
    """Known without drawing anything."""
    full = spec.shape == "aliccp"
    if kind == "users":
        histories = (*(f"history_{name}" for name in HISTORIES), "activity") if full else ()
        return ("user_id", *PROFILES[spec.shape], *histories)
    if kind == "items":
        return ("item_id", *CATALOGUES[spec.shape], *(("intention", "price") if full else ()))
    crosses = (f"{name}_in_history" for name in CROSSES[spec.shape])
    return ("user_id", "item_id", "timestamp", *MOMENTS[spec.shape], *crosses, "position", *TARGETS)


def _cut(frames: Iterator[pl.DataFrame], size: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of `size`, the last one smaller."""
    held: list[pl.DataFrame] = []
    count = 0
    for frame in frames:
        held.append(frame)
        count += len(frame)
        while count >= size:
            joined = pl.concat(held)
            yield joined[:size].rechunk()
            held, count = [joined[size:]], count - size
    if count:
        yield pl.concat(held, rechunk=True)


def _histories(drawn: Things) -> list[tuple[str, int]]:
    return [(name, sizes("aliccp")[name]) for name in HISTORIES if name in drawn.lists]


def _named(spec: Spec, field: str, codes: Ints) -> pl.Series:
    """Codes as texts; 0 as null."""
    base = field.removesuffix("_in_history")
    prefix = PREFIXES.get(base, "") if spec.shape == "aliccp" else ""
    return _names(prefix, sizes(spec.shape)[base]).gather(codes)


def _numbered(prefix: str, numbers: Ints) -> pl.Series:
    return prefix + pl.Series(numbers).cast(pl.String)


@cache
def _names(prefix: str, size: int) -> pl.Series:
    """Names of codes 0 to size; null for 0."""
    return pl.concat([pl.Series([None], dtype=pl.String), _numbered(prefix, np.arange(size))])


@cache
def _item_names(count: int) -> pl.Series:
    return _numbered("i", np.arange(count))


def _lists(names: pl.Series, codes: NDArray[np.int16]) -> pl.Series:
    """Codes [longest, n] as lists of names; null where empty."""
    matrix = names.gather(codes.T.ravel().astype(np.int64)).reshape((-1, len(codes))).alias("names")
    counts = pl.Series("count", (codes > 0).sum(axis=0))
    lists = pl.col("names").arr.to_list().list.head(pl.col("count"))
    return pl.DataFrame([matrix, counts]).select(pl.when(pl.col("count") > 0).then(lists)).to_series()
