"""Source `aliccp`: the real files of Ali-CCP. Impressions are the rows of the skeletons; users are the common rows.

A common row is what was known of a user at one moment, and its index the key that impressions name it by: a user
(field 101) may have several.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.datasets.aliccp.columns import notes, to_columns
from training.datasets.aliccp.files import COMMON, PARTS, SKELETON, File, Part, find
from training.datasets.aliccp.layout import IMPRESSION, INDEX, LABELS, SPLIT, USER, aliccp_schema, columns, with_length
from training.datasets.aliccp.lines import COMMON_CELLS, SKELETON_CELLS, Lines, parse
from training.datasets.partitions import CHUNK, Chunk, Rejected, Table
from training.datasets.raw import Raw

CHUNK_BYTES = 64 * 2**20  # of columns; some 400,000 impressions, or 90,000 users with long histories
IMPOSSIBLE = "rows with a conversion and no click, left out"
AGAIN = "users in both common files, with the same features, the second left out"
CHANGED = "users in both common files, with other features, the second left out"
_MIX = tuple(map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)))  # of SplitMix64


@dataclass(frozen=True)
class Impressions:
    """The skeleton of training or test as a partition."""

    file: File
    part: Part
    validation: float  # share of the training file

    @property
    def identity(self) -> str:
        """Of the file and of what is made of it."""
        return f"{self.file.identity}:{self.part}:{self.validation!r}"

    def chunks(self) -> Iterator[Chunk]:
        """Chunks of up to CHUNK rows."""
        blocks = (self._block(*block) for block in _parsed(self.file, SKELETON_CELLS))
        return _gathered(blocks)

    def _block(self, lines: Lines, rejected: tuple[Rejected, ...], before: int) -> Chunk:
        rows = lines.places + before + 1
        told = notes(lines.features, IMPRESSION)
        frame = lines.cells.select(INDEX, pl.col(*LABELS).cast(pl.Int8)).with_columns(
            self._split(rows), *to_columns(lines.features, len(rows), IMPRESSION)
        )
        possible = (frame["click"] >= frame["conversion"]).to_numpy()
        told[IMPOSSIBLE] = int((~possible).sum())
        return Chunk(self.file.where, frame.filter(possible), rows[possible], rows[possible], rejected, +told)

    def _split(self, rows: NDArray[np.int64]) -> pl.Series:
        if self.part == "test":
            return pl.repeat("test", len(rows), eager=True).alias(SPLIT)
        return pl.Series(SPLIT, np.where(_uniform(rows) < self.validation, "validation", "train"))


@dataclass(frozen=True)
class Users:
    """Both common files as one partition: an index that came before is left out."""

    files: tuple[File, ...]
    history: int

    @property
    def identity(self) -> str:
        """Of the files and of what is made of them."""
        return ":".join((*(file.identity for file in self.files), str(self.history)))

    def chunks(self) -> Iterator[Chunk]:
        """Chunks of up to CHUNK_BYTES."""
        met = pl.DataFrame(schema={"index": pl.UInt64, "content": pl.UInt64})
        for file in self.files:
            blocks = (self._block(file, *block) for block in _parsed(file, COMMON_CELLS))
            for chunk in _gathered(blocks):
                chunk, met = _first_of_each(chunk, met)
                yield chunk

    def _block(self, file: File, lines: Lines, rejected: tuple[Rejected, ...], before: int) -> Chunk:
        rows = lines.places + before + 1
        members = with_length(USER, self.history)
        features = to_columns(lines.features, len(rows), members)
        content = lines.cells["feature_list"].hash().alias("content")
        frame = lines.cells.select(INDEX).with_columns(content, *features)
        return Chunk(file.where, frame, rows, rows, rejected, notes(lines.features, members))


def read_aliccp(folder: Path, validation: float, history: int, min_count: int) -> Raw:
    """The four files of a folder, found but not yet read; DataError names one that is absent."""
    schema = aliccp_schema(history, min_count)
    impressions = [Impressions(find(folder, SKELETON, part), part, validation) for part in PARTS]
    users = Users(tuple(find(folder, COMMON, part) for part in PARTS), history)
    shown = (INDEX, *LABELS, SPLIT, *columns(IMPRESSION))
    return Raw(
        f"aliccp: {validation:g} of the training rows validate, histories of {history}",
        schema,
        Table(str(folder / SKELETON), shown, impressions),
        Table(str(folder / COMMON), (INDEX, *columns(USER)), [users]),
    )


def _uniform(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number of [0, 1) for each row number, always the same."""
    mixed = rows.astype(np.uint64) * _MIX[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
    uniform: NDArray[np.float64] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform


def _parsed(file: File, cells: tuple[str, ...]) -> Iterator[tuple[Lines, tuple[Rejected, ...], int]]:
    """Lines of each block, those that do not fit, and how many lines came before it."""
    before = 0
    members = USER if cells is COMMON_CELLS else IMPRESSION
    for block in file.blocks():
        lines = parse(block, cells, members)
        places = ((place + before + 1, why, line) for place, why, line in lines.bad)
        yield lines, tuple(Rejected(file.where, row, row, why, line) for row, why, line in places), before
        before += len(lines.places) + len(lines.bad)


def _gathered(blocks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Chunks of blocks put together up to CHUNK rows and CHUNK_BYTES."""
    held: list[Chunk] = []
    rows, size = 0, 0.0
    for block in blocks:
        own = block.frame.estimated_size() + sum(len(bad.content) for bad in block.rejected)
        if held and (rows + len(block.rows) > CHUNK or size + own > CHUNK_BYTES):
            yield _together(held)
            rows, size = 0, 0.0
        held.append(block)
        rows, size = rows + len(block.rows), size + own
    if held:
        yield _together(held)


def _together(blocks: list[Chunk]) -> Chunk:
    """One chunk; the list is emptied, so that no row is held twice while the chunk is used."""
    rows = np.concatenate([block.rows for block in blocks])
    frame = pl.concat([block.frame for block in blocks], rechunk=True)
    rejected = tuple(bad for block in blocks for bad in block.rejected)
    told: Counter[str] = Counter()
    for block in blocks:
        told.update(block.notes)
    where = blocks[0].where
    blocks.clear()
    return Chunk(where, frame, rows, rows, rejected, told)


def _first_of_each(chunk: Chunk, met: pl.DataFrame) -> tuple[Chunk, pl.DataFrame]:
    """The chunk without indices that came before, and what has been met with it; says which had other features."""
    own = chunk.frame.select(index=pl.col(INDEX).hash(), content="content")
    known = pl.concat([met, own])
    first = known["index"].is_first_distinct()
    changed = known.select(pl.col("content") != pl.col("content").first().over("index")).to_series()
    new = first[len(met) :]
    odd = int(changed[len(met) :].sum())
    told = +Counter({**chunk.notes, AGAIN: int((~new).sum()) - odd, CHANGED: odd})
    rows = chunk.rows[new.to_numpy()]
    frame = chunk.frame.drop("content").filter(new)
    return Chunk(chunk.where, frame, rows, rows, chunk.rejected, told), known.filter(first)
