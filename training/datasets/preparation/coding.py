"""First look: each raw chunk becomes codes of its own distinct values, checked and on disk. Raw files are read once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import DataError
from contract.field import TIMED
from contract.schema import Encoding, Field, Kind, Schema, Side
from training.datasets.partitions import Chunk, Partition, Rejected
from training.datasets.preparation.seen import MISSING
from training.datasets.preparation.work import CodedChunk, Facts, Work, end, ended, save_chunk, saved_chunks
from training.datasets.prepared import ROW_NUMBER
from training.datasets.ranks import Run
from training.datasets.raw import Place, RawColumn, factorize
from training.datasets.splits import PARTS
from training.datasets.texts import keys
from training.datasets.values import calendar_ids, coded, numbers, quantities

TIME, SPLIT = ":time", ":split"
_SHOWN = 1_000  # characters of a rejected row


@dataclass(frozen=True)
class Coding:
    """What is read of one table: `interactions`, `users` or `items`."""

    table: str
    schema: Schema
    names: tuple[str, ...]  # its raw columns
    fields: tuple[Field, ...]
    keys: Mapping[Side, str]  # raw columns
    skip: int = 0  # bad rows at most; 0: the first one is an error

    @property
    def meaning(self) -> str:
        """All but the raw data that the codes depend on."""
        truths = [name for name in self.names if name.startswith("truth:")]
        fields = [field.name for field in self.fields]
        return f"2 {self.schema.model_dump_json()} {fields} {dict(self.keys)} {sorted(truths)}"


class Unit(NamedTuple):
    """A partition to be coded."""

    coding: Coding
    number: int
    partition: Partition
    work: Work


class Columns(NamedTuple):
    """A coded chunk in memory: columns by name, and the distinct values of those that are codes."""

    columns: dict[str, pl.Series]
    values: dict[str, pl.Series]


def code_partition(unit: Unit) -> Iterator[CodedChunk]:
    """Code all chunks of a partition, but for those that an earlier run has left."""
    coding, folder = (
        unit.coding,
        unit.work.partition(unit.coding.table, unit.number, unit.coding.meaning, unit.partition),
    )
    saved = list(saved_chunks(folder))
    yield from saved
    if ended(folder):
        return
    number = len(saved)
    for chunk in islice(unit.partition.chunks(), number, None):
        yield _saved(coding, chunk, folder, number)
        number += 1
    end(folder, number)


def _saved(coding: Coding, chunk: Chunk, folder: Path, number: int) -> CodedChunk:
    found, rejected = code(coding, chunk)
    first = said(rejected[0]) if rejected else None
    rows = len(chunk.frame) + len(chunk.rejected) - len(rejected)
    facts = Facts(where=chunk.where, rows=rows, rejected=len(rejected), first_rejected=first, notes=dict(chunk.notes))
    times = Run.of(found.columns[TIME].to_numpy()) if TIME in found.columns else None
    return save_chunk(folder, number, found.columns, found.values, times, rejected, facts)


def code(coding: Coding, chunk: Chunk) -> tuple[Columns, list[Rejected]]:
    """Columns of the good rows, and the bad ones; DataError for the first of these where none may be skipped."""
    rejected = list(chunk.rejected)
    if rejected and not coding.skip:
        raise DataError(said(rejected[0]))
    refused: dict[int, str] | None = {} if coding.skip else None
    found = _Coder(coding, chunk, refused).columns()
    if refused:
        rejected += _rejects(chunk, refused)
        found = _Coder(coding, _without(chunk, list(refused)), None).columns()
    return found, sorted(rejected, key=lambda row: row.row)


def said(row: Rejected) -> str:
    """A rejected row as a message."""
    line = "" if row.line is None else f" (line {row.line})"
    return f"{row.where}, row {row.row}{line}: {row.why}"


class _Coder:
    """One chunk's columns."""

    def __init__(self, coding: Coding, chunk: Chunk, refused: dict[int, str] | None) -> None:
        self._coding, self._chunk = coding, chunk
        self._place = Place(chunk.rows, chunk.lines, refused)
        self._found = Columns({}, {})

    def columns(self) -> Columns:
        """Keys, time, split, targets, then fields."""
        coding, schema = self._coding, self._coding.schema
        for side, key in coding.keys.items():
            self._add_key(side, key)
        if coding.table == "interactions":
            if schema.time is not None:
                self._put(TIME, pl.Series(self._column(schema.time).moments()))
            if schema.split.by == "column" and schema.split.column is not None:
                self._put(SPLIT, self._split(self._column(schema.split.column)))
            self._add_targets()
        for field in coding.fields:
            self._add_field(field)
        if not self._found.columns:  # a table of nothing but the rows
            self._put(":row", pl.Series(self._chunk.rows))
        return self._found

    def _add_key(self, side: Side, key: str) -> None:
        column = self._column(key)
        ids = column.texts()
        column.refuse(ids.is_null(), "the id is missing; every row needs one")
        if self._coding.table != "interactions":
            column.refuse(~ids.is_first_distinct(), "{} appeared before; give each id one row")
        distinct, codes = factorize(ids)
        self._put(ROW_NUMBER[side], pl.Series(codes), distinct)

    def _split(self, column: RawColumn) -> pl.Series:
        parts = column.texts().replace_strict(PARTS, default=None, return_dtype=pl.Int8)
        column.refuse(parts.is_null(), "{} is none of train, validation and test")
        return parts.fill_null(0)

    def _add_targets(self) -> None:
        """Label and, where the source knows it, true probability or mean of each task."""
        for task in self._coding.schema.tasks:
            column = self._column(task.label)
            labels = column.numbers()
            if task.kind == "binary":
                bad = ~labels.is_in([0.0, 1.0]).fill_null(True)
                column.refuse(bad, "the label is {}; a binary label is 0 or 1")
            self._put(f"label:{task.name}", labels.cast(pl.Float32))
            if (truth := f"truth:{task.name}") in self._coding.names:
                self._put(truth, self._column(truth).numbers().cast(pl.Float32))

    def _add_field(self, field: Field) -> None:
        column = self._column(field.source)
        if field.kind is Kind.NUMERIC:
            self._add_number(field, column)
        elif field.encoding is Encoding.QUANTILE:
            self._put(field.name, pl.Series(quantities(field, column)))
        elif field.encoding in TIMED:
            self._put(field.name, pl.Series(calendar_ids(field, column)))
        else:
            self._add_ids(field, column)

    def _add_number(self, field: Field, column: RawColumn) -> None:
        known = column.numbers()
        self._put(field.name, pl.Series(numbers(field, replace(column, values=known))))
        if known.null_count():
            self._put(f"{field.name}{MISSING}", known.is_null())

    def _add_ids(self, field: Field, column: RawColumn) -> None:
        found = coded(field, column, None if field.weights is None else self._column(field.weights))
        codes = found.codes if field.needs_dictionary else found.ids(field, None)
        self._put(field.name, id_column(field, codes), keys(found.distinct) if field.needs_dictionary else None)
        if found.weights is not None:
            self._put(f"{field.name}:weights", pl.Series(found.weights, dtype=pl.Array(pl.Float32, field.slots)))

    def _column(self, name: str) -> RawColumn:
        return RawColumn(f"{self._chunk.where}: column '{name}'", self._chunk.frame[name], self._place)

    def _put(self, name: str, column: pl.Series, values: pl.Series | None = None) -> None:
        self._found.columns[name] = column
        if values is not None:
            self._found.values[name] = values


def id_column(field: Field, ids: NDArray[np.int32]) -> pl.Series:
    """Ids [rows, slots] as the field's column."""
    multi = field.kind is Kind.MULTI
    return pl.Series(ids if multi else ids[:, 0], dtype=pl.Array(pl.Int32, field.slots) if multi else pl.Int32)


def _rejects(chunk: Chunk, refused: Mapping[int, str]) -> Iterator[Rejected]:
    for index, why in refused.items():
        line = None if chunk.lines is None else int(chunk.lines[index])
        content = str(chunk.frame.row(index, named=True))[:_SHOWN]
        yield Rejected(chunk.where, int(chunk.rows[index]), line, why.removeprefix(f"{chunk.where}: "), content)


def _without(chunk: Chunk, bad: list[int]) -> Chunk:
    good = np.ones(len(chunk.frame), bool)
    good[bad] = False
    lines = None if chunk.lines is None else chunk.lines[good]
    return replace(chunk, frame=chunk.frame.filter(pl.Series(good)), rows=chunk.rows[good], lines=lines)
