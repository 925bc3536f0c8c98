"""Last look: codes → ids, each chunk to its parts; encoded rows of stored tables to pieces, these to parts in order."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.encoding import quantile_ids
from contract.files import whole_file, write_text
from contract.schema import Encoding, Field, Kind, Side
from training.datasets.partitions import CHUNK
from training.datasets.preparation.keys import rows_of
from training.datasets.preparation.placing import PART, Last
from training.datasets.preparation.seen import Tallies, tallies
from training.datasets.preparation.work import CodedChunk, Work, dictionary_at
from training.datasets.prepared import KEY, ROW_GROUP, ROW_NUMBER, SPLITS, Prepared
from training.datasets.texts import packed, unpacked
from training.datasets.values import ids_of

ROW = ":row"
EMPTY = pl.Series([], dtype=pl.String)


class Encode(NamedTuple):
    """A chunk of the interactions to be encoded; `number`: its place in the log."""

    chunk: CodedChunk
    number: int
    fields: tuple[Field, ...]  # of the moment, measured
    latest: Mapping[Side, Path]  # where a side stores what the interactions hold: which chunk has each row's last
    work: Work


class Storing(NamedTuple):
    """A chunk of a stored table to be encoded."""

    chunk: CodedChunk
    side: Side
    fields: tuple[Field, ...]
    shown: Path  # how often each split showed each row
    work: Work


class Piece(NamedTuple):
    """Encoded rows of a stored table, from row `low` to row `high`."""

    file: Path
    low: int
    high: int


class Encoded(NamedTuple):
    """What an encoded chunk of the interactions leaves for the stored tables, and counts of its fields."""

    latest: dict[Side, Piece]
    seen: Tallies


class Stored(NamedTuple):
    """An encoded chunk of a stored table, and counts of its fields over the impressions that show its rows."""

    piece: Piece
    seen: Tallies


class Range(NamedTuple):
    """Rows [start, stop) of a stored table, to be put together from what is already there and from pieces, in order."""

    side: Side
    fields: tuple[Field, ...]
    start: int
    stop: int
    pieces: tuple[Piece, ...]
    earlier: Path | None  # a data set whose stored rows are taken over
    key: str | None  # raw column
    work: Work


def encode(unit: Encode) -> Iterator[Encoded]:
    """Write a chunk's parts, one a split, and for each side that needs them the last values of its rows."""
    done = unit.work.pieces("interactions") / f"{unit.number:05d}.json"
    if not done.is_file():
        pieces, seen = _encode(unit)
        ends = {side: (piece.low, piece.high) for side, piece in pieces.items()}
        done.parent.mkdir(parents=True, exist_ok=True)
        write_text(done, json.dumps({"latest": ends, "seen": seen}))
    found = json.loads(done.read_bytes())
    latest = {side: Piece(_latest_file(unit, side), *found["latest"][side]) for side in unit.latest}
    yield Encoded(latest, found["seen"])


def _encode(unit: Encode) -> Encoded:
    placed = pl.read_parquet(unit.work.placed(unit.chunk) / "rows.parquet", glob=False)
    coded = unit.chunk.rows()
    targets = [name for name in coded.columns if name.startswith(("label:", "truth:"))]
    fields = encoded(unit.chunk, coded, unit.fields, unit.work.result)
    named = [column.alias(name) for name, column in fields.items()]
    whole = pl.DataFrame([*placed.drop(PART).get_columns(), *coded.select(targets).get_columns(), *named])
    for part, split in enumerate(SPLITS):
        rows = whole.filter(placed[PART] == part)
        if len(rows):
            _write(rows, unit.work.result / "interactions" / split / f"part-{unit.number:05d}.parquet")
    latest = {side: _latest(unit, side, winners, fields) for side, winners in unit.latest.items()}
    once = np.eye(len(SPLITS), dtype=np.int64)[placed[PART].to_numpy()]
    return Encoded(latest, tallies(unit.fields, coded, fields, once))


def _latest_file(unit: Encode, side: Side) -> Path:
    return unit.work.pieces(side) / f"latest-{unit.number:05d}.parquet"


def _latest(unit: Encode, side: Side, winners: Path, fields: Mapping[str, pl.Series]) -> Piece:
    last = Last(*np.load(unit.work.placed(unit.chunk) / f"{side}-last.npy"))
    chosen = np.load(winners, mmap_mode="r")[last.row] == unit.number
    rows = {ROW: pl.Series(last.row[chosen])}
    for field in (field for field in unit.fields if field.side is side):
        for name in columns_of(field):
            rows[name] = fields[name].gather(last.place[chosen])
    return _piece(pl.DataFrame(rows), _latest_file(unit, side))


def store(unit: Storing) -> Iterator[Stored]:
    """Write the encoded rows of a stored table's chunk."""
    coded = unit.chunk.rows()
    rows = rows_of(unit.chunk, unit.side, coded[ROW_NUMBER[unit.side]], unit.work)
    fields = encoded(unit.chunk, coded, unit.fields, unit.work.result)
    columns = {ROW: pl.Series(rows, dtype=pl.Int64)} | fields
    name = f"{unit.chunk.folder.parent.name}-{unit.chunk.folder.name}.parquet"
    piece = _piece(pl.DataFrame(columns).sort(ROW), unit.work.pieces(unit.side) / name)
    yield Stored(piece, tallies(unit.fields, coded, fields, np.load(unit.shown, mmap_mode="r")[rows]))


def encoded(chunk: CodedChunk, coded: pl.DataFrame, fields: Sequence[Field], out: Path) -> dict[str, pl.Series]:
    """The prepared columns of a chunk's fields."""
    found: dict[str, pl.Series] = {}
    for field in fields:
        column = coded[field.name]
        if field.encoding is Encoding.QUANTILE and field.kind is not Kind.NUMERIC:
            column = pl.Series(field.name, quantile_ids(field, column.to_numpy()))
        elif field.needs_dictionary:
            column = _looked_up(chunk, field, column, out)
        found[field.name] = column
        if field.weights is not None:
            found[f"{field.name}:weights"] = coded[f"{field.name}:weights"]
    return found


def _looked_up(chunk: CodedChunk, field: Field, codes: pl.Series, out: Path) -> pl.Series:
    values = pl.read_parquet(chunk.values(field.name), columns=["value"], glob=False)["value"]
    known = ids_of(field, values, dictionary_at(out / "dictionaries" / f"{field.name}.npz"))
    ids = np.concatenate([np.zeros(1, np.int32), known])[codes.to_numpy()]
    return pl.Series(field.name, ids, dtype=codes.dtype)


def assemble(unit: Range) -> Iterator[None]:
    """Write one part of a stored table."""
    count = unit.stop - unit.start
    keys = unpacked(dictionary_at(unit.work.keys(unit.side)).texts, unit.start, unit.stop) if count else EMPTY
    columns: dict[str, NDArray[np.generic]] = {}
    before = None if unit.earlier is None else _before(unit.earlier, unit)
    for field in unit.fields:
        for name, dtype in columns_of(field).items():
            columns[name] = _blank(dtype, count, None if before is None else before[name])
    for field in unit.fields if before is not None else ():
        if field.source == unit.key and field.needs_dictionary and field.kind is Kind.CATEGORICAL:
            columns[field.name] = _of_keys(field, keys, unit)  # who was unseen then may be known now
    for piece in unit.pieces:
        rows = (
            pl.scan_parquet(piece.file, glob=False).filter(pl.col(ROW).is_between(unit.start, unit.stop - 1)).collect()
        )
        places = rows[ROW].to_numpy() - unit.start
        for name in rows.columns:
            if name != ROW:
                columns[name][places] = rows[name].to_numpy()
    found = {KEY: keys}
    for field in unit.fields:
        found |= {name: pl.Series(columns[name], dtype=dtype) for name, dtype in columns_of(field).items()}
    _write(pl.DataFrame(found), unit.work.result / f"{unit.side}s" / f"part-{unit.start // CHUNK:05d}.parquet")
    yield None


def _of_keys(field: Field, keys: pl.Series, unit: Range) -> NDArray[np.int32]:
    return dictionary_at(unit.work.result / "dictionaries" / f"{field.name}.npz").encode_texts(packed(keys))


def _before(earlier: Path, unit: Range) -> pl.DataFrame:
    return Prepared.open(earlier).table(unit.side).slice(unit.start, unit.stop - unit.start).collect()


def _blank(dtype: pl.DataType, count: int, before: pl.Series | None) -> NDArray[np.generic]:
    """Zeros, over them what was there before."""
    flat = dtype.inner if isinstance(dtype, pl.Array) else dtype
    shape = (count, dtype.size) if isinstance(dtype, pl.Array) else (count,)
    found = np.zeros(shape, np.float32 if flat == pl.Float32 else np.int32)
    if before is not None:
        found[: len(before)] = before.to_numpy()
    return found


def columns_of(field: Field) -> dict[str, pl.DataType]:
    """The prepared columns of a field and their types."""
    if field.kind is Kind.NUMERIC:
        return {field.name: pl.Float32()}
    if field.kind is not Kind.MULTI:
        return {field.name: pl.Int32()}
    weights = {} if field.weights is None else {f"{field.name}:weights": pl.Array(pl.Float32, field.slots)}
    return {field.name: pl.Array(pl.Int32, field.slots), **weights}


def _piece(rows: pl.DataFrame, file: Path) -> Piece:
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as temporary:
        rows.write_parquet(temporary, compression="lz4", row_group_size=ROW_GROUP)
    low, high = (int(rows[ROW][0]), int(rows[ROW][-1])) if len(rows) else (0, -1)
    return Piece(file, low, high)


def _write(rows: pl.DataFrame, file: Path) -> None:
    with whole_file(file) as temporary:
        rows.write_parquet(temporary, row_group_size=ROW_GROUP)
