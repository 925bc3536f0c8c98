"""What the training rows of a chunk say of each field: counts of values, moments of numbers, runs for quantiles."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import fsum, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.dictionary import Dictionary
from contract.files import whole_folder
from contract.schema import Encoding, Field, Kind, Side
from training.datasets.preparation.keys import rows_of
from training.datasets.preparation.work import CodedChunk, Work
from training.datasets.prepared import ROW_NUMBER
from training.datasets.ranks import Run, floats, nth, ordered, total
from training.datasets.texts import unpacked
from training.datasets.values import transformed


class Moments(NamedTuple):
    """How many numbers, their mean, and the sum of squared departures from it."""

    rows: int
    mean: float
    squares: float


class Measuring(NamedTuple):
    """A chunk of a stored table to be measured; `shown`: a file of how often each split showed each row."""

    chunk: CodedChunk
    side: Side
    fields: tuple[Field, ...]
    shown: Path
    work: Work


def measure_stored(unit: Measuring) -> Iterator[dict[str, Moments]]:
    """Measure the rows of one chunk as often as training showed them."""
    codes = unit.chunk.rows(ROW_NUMBER[unit.side])[ROW_NUMBER[unit.side]]
    weights = np.load(unit.shown, mmap_mode="r")[rows_of(unit.chunk, unit.side, codes, unit.work), 0]
    with whole_folder(unit.work.measured(unit.chunk)) as folder:
        yield measure(unit.chunk, unit.fields, weights, folder)


def measure(chunk: CodedChunk, fields: Sequence[Field], weights: NDArray[np.int64], folder: Path) -> dict[str, Moments]:
    """Write counts and runs of a chunk's fields, each row counted as often as its weight says; returns the moments."""
    moments, columns = {}, chunk.rows()
    for field in fields:
        column = columns[field.name]
        if field.kind is Kind.NUMERIC:
            moments[field.name] = _moments(transformed(field, column.to_numpy()), weights)
        elif field.encoding is Encoding.QUANTILE:
            values = column.to_numpy().astype(np.float64)
            known = ~np.isnan(values)
            np.save(folder / f"{field.name}.npy", Run.of(ordered(values[known]), weights[known]).array())
        elif field.needs_dictionary:
            _count(chunk, field, column, weights, folder / f"{field.name}.parquet")
    return moments


def scaled(field: Field, parts: Iterable[Moments]) -> Field:
    """The field with mean and scale of all chunks together."""
    known = [part for part in parts if part.rows]
    count = sum(part.rows for part in known)
    mean = fsum(part.rows * part.mean for part in known) / count
    squares = fsum(part.squares + part.rows * (part.mean - mean) ** 2 for part in known)
    spread = sqrt(squares / count)
    scale = spread if spread > 1e-6 * max(1.0, abs(mean)) else 1.0  # a constant has no scale
    # six digits: machines may differ in the last ones
    return field.model_copy(update={"mean": float(f"{mean:.6g}"), "scale": float(f"{scale:.6g}")})


def cut(field: Field, files: Sequence[Path]) -> Field:
    """The field with edges that cut the training values into buckets of equal shares, as far as they differ."""
    runs = [Run.of_array(np.load(file, mmap_mode="r")) for file in files]
    count, buckets = total(runs), field.buckets or 1
    if not count:
        return field.model_copy(update={"edges": (), "size": 2})
    places = sorted({count * bucket // buckets for bucket in range(1, buckets)})
    lowest = nth(runs, 0)
    found = sorted({edge for place in places if (edge := nth(runs, place)) > lowest})
    edges = tuple(float(edge) for edge in floats(np.array(found, np.int64)))
    return field.model_copy(update={"edges": edges, "size": len(edges) + 2})


def _moments(values: NDArray[np.float64], weights: NDArray[np.int64]) -> Moments:
    count = int(weights.sum())
    if not count:
        return Moments(0, 0.0, 0.0)
    mean = float(values @ weights) / count
    return Moments(count, mean, float(((values - mean) ** 2) @ weights))


def _count(chunk: CodedChunk, field: Field, column: pl.Series, weights: NDArray[np.int64], file: Path) -> None:
    values = pl.read_parquet(chunk.values(field.name), columns=["value"], glob=False)["value"]
    counts = np.bincount(column.to_numpy().ravel(), np.repeat(weights, field.slots), len(values) + 1)[1:]
    first = chunk.order << 24 | np.arange(len(values), dtype=np.int64)
    frame = pl.DataFrame({"value": values, "count": counts.astype(np.int64), "first": first})
    frame.filter(pl.col("count") > 0).write_parquet(file, compression="lz4")


def count_rows(keys: Dictionary, often: NDArray[np.int64], file: Path) -> None:
    """Count ids themselves, by row number."""
    met = np.flatnonzero(often)
    values = unpacked(keys.texts, 0, len(keys)).gather(met)
    pl.DataFrame({"value": values, "count": often[met], "first": met}).write_parquet(file, compression="lz4")


def transposed(parts: Iterable[Mapping[str, Moments]]) -> dict[str, list[Moments]]:
    """Moments by field, in the order of the chunks."""
    found: dict[str, list[Moments]] = {}
    for part in parts:
        for name, moments in part.items():
            found.setdefault(name, []).append(moments)
    return found
