"""Raw tables → a prepared data set, streamed and written whole. The one way that every source takes.

A field that the side's own table (or its key) holds is stored there. A user or item field that only the interactions
hold stays with them, point in time, and its latest value is stored as well, for serving. Vocabularies, means, scales
and quantiles are measured on the training impressions alone. Memory grows with users, items and vocabularies, not rows:

    read      each raw chunk → codes of its own distinct values, on disk; raw files are read once (preparation/coding)
    place     row numbers of users and items, the part of each row, counts over training rows (placing)
    measure   counts merged to vocabularies, means, scales, edges (measuring, reducing)
    encode    codes → ids, each chunk to its parts; then the stored tables (encoding, storing)

A run that was cut off goes on from what OUT.unfinished holds.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from contract.errors import DataError, TwinscoreError
from contract.files import replace_folder
from contract.schema import Field, Kind, Schema, Side
from training.datasets.partitions import CHUNK, Table
from training.datasets.preparation.describing import write_description
from training.datasets.preparation.encoding import Encode, Piece, encode
from training.datasets.preparation.keys import Rows, Tail, number_rows
from training.datasets.preparation.mapping import Mapper, one_by_one
from training.datasets.preparation.measuring import Measuring, Moments, count_rows, measure_stored, transposed
from training.datasets.preparation.places import places
from training.datasets.preparation.placing import Placed, Placing, place, shown, winners
from training.datasets.preparation.progress import Stages, shown_stages
from training.datasets.preparation.reading import TABLE, Chunks, Reading, gather_rejected, notes
from training.datasets.preparation.reducing import measured
from training.datasets.preparation.seen import Tallies, total
from training.datasets.preparation.storing import write_table
from training.datasets.preparation.work import Work, dictionary_at, digest
from training.datasets.prepared import SPLITS, Description, Prepared
from training.datasets.ranks import Run
from training.datasets.raw import Raw
from training.datasets.splits import Bounds, advice, bounds


@dataclass(frozen=True)
class Options:
    """How to prepare: bad rows that may be skipped, a data set whose ids are kept, who does the work."""

    skip: int = 0
    earlier: Prepared | None = None
    mapper: Mapper = one_by_one
    console: Console | None = None  # where progress is shown


def write_prepared(raw: Raw, out: Path, options: Options = Options()) -> Description:
    """Encode, measure and write a data set under `out`, which is replaced whole; DataError names what is wrong."""
    _refuse_to_replace(out)
    work = Work(out.with_name(f"{out.name}.unfinished"))
    reading = Reading(raw, places(raw, options.earlier), work, options.skip)
    try:
        with shown_stages(options.console) as stages:
            return _Preparation(reading, options, stages).run(out)
    except TwinscoreError:
        if sum(chunk.facts.rows for chunk in reading.seen) < CHUNK:
            shutil.rmtree(work.root, ignore_errors=True)  # nothing that is worth going on from
        raise


class _Preparation:
    """One run."""

    def __init__(self, reading: Reading, options: Options, stages: Stages) -> None:
        self.reading, self.raw, self.schema = reading, reading.raw, reading.raw.schema
        self.places, self.work = reading.places, reading.work
        self.earlier, self.mapper, self.stages = options.earlier, options.mapper, stages

    def run(self, out: Path) -> Description:
        """All stages."""
        chunks = self.reading.chunks(self.mapper, self.stages.start("read", None))
        self.work = self._of_run(chunks)
        rows = {side: self._number(side, chunks) for side in self.places.keys}
        placed = self._place(chunks)
        fields = self._measure(chunks, placed, rows)
        seen = self._encode(chunks, rows, fields)
        rejected = gather_rejected(self.reading.seen, self.work.result / "rejected.jsonl")
        description = write_description(
            self.work.result, self.raw.source, placed, rows, seen, rejected, notes(self.reading.seen)
        )
        self.work.sweep()
        replace_folder(self.work.result, out)
        shutil.rmtree(self.work.root, ignore_errors=True)
        return description

    def _of_run(self, chunks: Chunks) -> Work:
        """Later stages depend on every chunk, so they get a folder of that name; those of other runs go."""
        folders = [str(chunk.folder.relative_to(self.work.root)) for each in chunks.values() for chunk in each]
        given = [self.schema] if self.earlier is None else [self.schema, self.earlier.schema, self.earlier.description]
        run = f"run-{digest(*folders, *(each.model_dump_json() for each in given))}"
        for folder in self.work.root.glob("run-*"):
            if folder.name != run:
                shutil.rmtree(folder)
        (self.work.root / run / "result").mkdir(parents=True, exist_ok=True)
        return Work(self.work.root, run)

    def _number(self, side: Side, chunks: Chunks) -> Rows:
        """Row numbers of a side; ids that only the interactions know become chunks of its table."""
        name = TABLE[side]
        rows = number_rows(side, chunks.get(name, []), chunks["interactions"], self.work, self.earlier)
        others = {column for field in self.places.stored[side] for column in field.columns} - {self.places.keys[side]}
        key = self.places.keys[side]
        tail = Tail(
            f"{name} of the interactions", self.work.keys(side), rows.own, rows.count, key, tuple(sorted(others))
        )
        table = Table(tail.where, (key, *tail.others), (tail,))
        more = self.reading.more(f"{name}-tail", table, self.mapper) if rows.own < rows.count else []
        chunks[name] = [*chunks.get(name, []), *more]
        return rows

    def _place(self, chunks: Chunks) -> list[Placed]:
        log = chunks["interactions"]
        starts = np.cumsum([0, *(chunk.facts.rows for chunk in log)]).tolist()
        limits, stage = self._bounds(chunks, starts[-1]), self.stages.start("place", len(log))
        sides = tuple(self.places.keys)
        units = [
            Placing(chunk, start, self.schema, self.places.moment, sides, limits, self.work)
            for chunk, start in zip(log, starts[:-1], strict=True)
        ]
        placed = []
        for each in self.mapper(place, units):
            placed.append(each)
            stage.advance()
        self._check(placed, chunks, starts[-1])
        return placed

    def _bounds(self, chunks: Chunks, rows: int) -> Bounds:
        users = dictionary_at(self.work.keys(Side.USER)) if Side.USER in self.places.keys else None
        return bounds(self.schema.split, rows, users, self._times(chunks))

    def _times(self, chunks: Chunks) -> list[Run]:
        if self.schema.split.by != "time":
            return []
        return [Run.of_array(np.load(chunk.folder / "times.npy", mmap_mode="r")) for chunk in chunks["interactions"]]

    def _check(self, placed: Sequence[Placed], chunks: Chunks, rows: int) -> None:
        """Every part has rows, and every task something to learn from."""
        split = self.schema.split
        for part, name in enumerate(SPLITS):
            if not sum(each.rows[part] for each in placed):
                users = dictionary_at(self.work.keys(Side.USER)).size - 1 if split.by == "user" else 0
                why = advice(split, rows, users, self._times(chunks))
                raise DataError(f"the split by {split.by} leaves no rows for {name}; {why}")
        for task in self.schema.tasks:
            if not sum(each.useful[task.name] for each in placed):
                needed = "1" if task.kind == "binary" else "value"
                where = f"{self.raw.interactions.where}: column '{task.label}'"
                raise DataError(f"{where}: no {needed} among the training rows; task '{task.name}' cannot be learned")

    def _measure(self, chunks: Chunks, placed: Sequence[Placed], rows: dict[Side, Rows]) -> dict[str, Field]:
        """Every field with its size, scale or edges; dictionaries are written."""
        folders = {
            field.name: [self.work.placed(chunk) for chunk in chunks["interactions"]] for field in self.places.moment
        }
        moments = transposed(each.moments for each in placed)
        for side, fields in self.places.stored.items():
            moments |= self._measure_stored(side, chunks, rows[side])
            own = [self.work.measured(chunk) for chunk in chunks[TABLE[side]]]
            folders |= {field.name: self._of_keys(side, field) or own for field in fields}
        (self.work.result / "dictionaries").mkdir(exist_ok=True)
        stage, found = self.stages.start("measure", len(self.schema.fields)), {}
        for field in self.schema.fields:
            found[field.name] = measured(
                field, folders.get(field.name, []), moments.get(field.name, []), self.work.merging,
                self.work.result / "dictionaries", self.earlier,
            )  # fmt: skip
            stage.advance()
        return found

    def _measure_stored(self, side: Side, chunks: Chunks, rows: Rows) -> dict[str, list[Moments]]:
        """Stored values count as often as training showed their row."""
        file = self.work.shown(side)
        np.save(file, shown(chunks["interactions"], side, rows.count, self.work))
        fields = self.places.stored[side]
        if self.earlier is not None:
            self._count_keys(side, np.load(file)[:, 0])
        units = [Measuring(chunk, side, fields, file, self.work) for chunk in chunks[TABLE[side]]]
        return transposed(self.mapper(measure_stored, units))

    def _of_keys(self, side: Side, field: Field) -> list[Path]:
        """Where the ids of an extended table are counted: also those whose row an earlier data set has."""
        is_key = field.source == self.places.keys[side] and field.kind is Kind.CATEGORICAL
        return [self.work.keys(side).with_name(f"{side}-ids")] if self.earlier is not None and is_key else []

    def _count_keys(self, side: Side, often: NDArray[np.int64]) -> None:
        keys = dictionary_at(self.work.keys(side))
        for field in self.places.stored[side]:
            for folder in self._of_keys(side, field):
                folder.mkdir(exist_ok=True)
                count_rows(keys, often, folder / f"{field.name}.parquet")

    def _encode(self, chunks: Chunks, rows: dict[Side, Rows], fields: dict[str, Field]) -> Tallies:
        complete = self.schema.model_copy(update={"fields": tuple(fields[field.name] for field in self.schema.fields)})
        complete.save(self.work.result / "schema.json")
        moment = tuple(fields[field.name] for field in self.places.moment)
        files = {side: self._winners(side, chunks, rows[side]) for side, latest in self.places.latest.items() if latest}
        stage = self.stages.start("encode", len(chunks["interactions"]))
        for split in SPLITS:
            (self.work.result / "interactions" / split).mkdir(parents=True, exist_ok=True)
        units = [Encode(chunk, n, moment, files, self.work) for n, chunk in enumerate(chunks["interactions"])]
        latest: dict[Side, list[Piece]] = {side: [] for side in (Side.USER, Side.ITEM)}
        seen = []
        for each in self.mapper(encode, units):
            for side, piece in each.latest.items():
                latest[side].append(piece)
            seen.append(each.seen)
            stage.advance()
        for side in latest:
            seen.append(self._store(side, complete, chunks, rows.get(side, Rows(0, 0, 0)), latest[side]))
        return total(seen)

    def _store(self, side: Side, schema: Schema, chunks: Chunks, rows: Rows, latest: Sequence[Piece]) -> Tallies:
        fields = schema.on(side)
        held = {field.name for field in self.places.stored.get(side, ())}
        stored = tuple(field for field in fields if field.name in held)
        own = chunks.get(TABLE[side], [])
        return write_table(
            side, rows, own, stored, latest, fields, self.work, self.earlier, self.places.keys.get(side), self.mapper
        )

    def _winners(self, side: Side, chunks: Chunks, rows: Rows) -> Path:
        file = self.work.keys(side).with_name(f"{side}-winners.npy")
        np.save(file, winners(chunks["interactions"], side, rows.count, self.work))
        return file


def _refuse_to_replace(out: Path) -> None:
    if out.exists() and not (out / "prepared.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: exists and is not a prepared data set; choose another --out")
