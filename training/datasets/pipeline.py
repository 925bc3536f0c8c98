"""Raw tables → a prepared data set, written whole. The one way that every source takes.

A field that the side's own table (or its key) holds is stored there. A user or item field that only the interactions
hold stays with them, point in time, and its latest value is stored as well, for serving. Vocabularies, means and
scales are measured on the training impressions alone.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from contract.dictionary import Dictionary
from contract.errors import DataError
from contract.files import sha256, whole_folder, write_text
from contract.schema import Encoding, Field, Kind, Side, Task
from training.datasets.prepared import ITEM, KEY, SPLITS, USER, Description
from training.datasets.raw import Raw, RawColumn
from training.datasets.splits import assign
from training.datasets.stored import Stored, stored_rows
from training.datasets.values import Coded, coded, numbers, transformed

ROW_GROUP = 131_072
ROW_NUMBER = {Side.USER: USER, Side.ITEM: ITEM}


class Place(NamedTuple):
    """Raw values of a field: with the moment, stored, or both."""

    moment: RawColumn | None
    stored: RawColumn | None


Columns = dict[str, pl.Series]


def write_prepared(raw: Raw, out: Path) -> Description:
    """Encode, measure and write a data set under `out`, which is replaced whole; DataError names what is wrong."""
    _refuse_to_replace(out)
    schema, table = raw.schema, raw.interactions
    times = None if schema.time is None else table.column(schema.time, "time").moments()
    keys = {Side.USER: (schema.user_key, raw.users), Side.ITEM: (schema.item_key, raw.items)}
    sides = {side: stored_rows(side, key, own, table, times) for side, (key, own) in keys.items() if key is not None}
    parts = assign(schema.split, len(table), sides.get(Side.USER), times)
    moment = {ROW_NUMBER[side]: pl.Series(stored.rows) for side, stored in sides.items()}
    for task in schema.tasks:
        moment |= _targets(raw, task, parts == 0)
    tables = {side: {KEY: sides[side].keys if side in sides else pl.Series([], dtype=pl.String)} for side in keys}
    places = {field.name: _place(raw, field, sides.get(field.side)) for field in schema.fields}
    measured, console = [], Console(stderr=True)
    with whole_folder(out) as folder:
        (folder / "dictionaries").mkdir()
        for field in track(schema.fields, "encode", console=console, transient=True, disable=not console.is_terminal):
            place = places[field.name]
            weights = _impressions(place, sides.get(field.side), parts == 0)
            known, (at_moment, stored) = _encode(field, place, weights, folder)
            measured.append(known)
            if at_moment is not None:
                moment[field.name] = at_moment
            if field.side in tables:
                tables[field.side][field.name] = pl.Series([], dtype=_dtype(field)) if stored is None else stored
        complete = schema.model_copy(update={"fields": tuple(measured)})
        complete.save(folder / "schema.json")
        return _write(raw.source, moment, tables, parts, folder)


def _refuse_to_replace(out: Path) -> None:
    if out.exists() and not (out / "prepared.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: exists and is not a prepared data set; choose another --out")


def _place(raw: Raw, field: Field, stored: Stored | None) -> Place:
    use = f"field '{field.name}'"
    if stored is not None and stored.holds(field):
        return Place(None, stored.column(field))
    if stored is not None and stored.table is not None and field.source not in raw.interactions:
        raise DataError(
            f"{stored.table.where} and {raw.interactions.where}: no column '{field.source}' ({use}); "
            "mend `column:` or remove the field"
        )
    moment = raw.interactions.column(field.source, use)
    return Place(moment, None if stored is None else stored.latest_of(moment))


def _targets(raw: Raw, task: Task, train: NDArray[np.bool_]) -> Columns:
    """Label and, where the source knows it, true probability or mean of a task."""
    column = raw.interactions.column(task.label, f"label of task '{task.name}'")
    labels = column.numbers()
    learned, needed = labels.to_numpy()[train], "value"
    useful = ~np.isnan(learned)
    if task.kind == "binary":
        column.refuse(~labels.is_in([0.0, 1.0]).fill_null(True), "the label is {}; a binary label is 0 or 1")
        useful, needed = learned == 1, "1"
    if not useful.any():
        raise DataError(f"{column.where}: no {needed} among the training rows; task '{task.name}' cannot be learned")
    targets = {f"label:{task.name}": labels.cast(pl.Float32)}
    if (truth := f"truth:{task.name}") in raw.interactions:
        targets[truth] = raw.interactions.column(truth, "truth").numbers().cast(pl.Float32)
    return targets


def _impressions(place: Place, stored: Stored | None, train: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many training impressions met each value of the column that a field is measured on."""
    if place.moment is not None or stored is None:
        return train.astype(np.int64)
    return np.bincount(stored.rows[train], minlength=len(stored.keys))


def _encode(
    field: Field, place: Place, weights: NDArray[np.int64], folder: Path
) -> tuple[Field, list[pl.Series | None]]:
    """The field as measured on the moment's values, or else the stored ones; and the encoded columns of both."""
    if field.kind is Kind.NUMERIC:
        values = [None if column is None else numbers(field, column) for column in place]
        known = next(array for array in values if array is not None)
        return _scaled(field, known, weights), [None if array is None else pl.Series(array) for array in values]
    codes = [None if column is None else coded(field, column) for column in place]
    first = next(column for column in codes if column is not None)
    measured, dictionary = _with_dictionary(field, first, weights, folder)
    ids = [None if column is None else column.ids(field, dictionary) for column in codes]
    return measured, [None if array is None else _id_column(field, array) for array in ids]


def _scaled(field: Field, values: NDArray[np.float32], weights: NDArray[np.int64]) -> Field:
    exact = transformed(field, values)
    mean = float(np.average(exact, weights=weights))
    spread = float(np.sqrt(np.average((exact - mean) ** 2, weights=weights)))
    scale = spread if spread > 1e-6 * max(1.0, abs(mean)) else 1.0  # a constant has no scale
    # six digits: machines may differ in the last ones
    return field.model_copy(update={"mean": float(f"{mean:.6g}"), "scale": float(f"{scale:.6g}")})


def _with_dictionary(
    field: Field, values: Coded, weights: NDArray[np.int64], folder: Path
) -> tuple[Field, Dictionary | None]:
    if field.encoding is Encoding.HASH and field.buckets is not None:
        return field.model_copy(update={"size": field.buckets + 1, "lineage": ""}), None
    dictionary = Dictionary.build(values.counts(weights), field.min_count)
    dictionary.save(folder / "dictionaries" / f"{field.name}.npz")
    return field.model_copy(update={"size": dictionary.size, "lineage": dictionary.lineage}), dictionary


def _dtype(field: Field) -> pl.DataType:
    if field.kind is Kind.MULTI:
        return pl.Array(pl.Int32, field.slots)
    return pl.Float32() if field.kind is Kind.NUMERIC else pl.Int32()


def _id_column(field: Field, ids: NDArray[np.int32]) -> pl.Series:
    return pl.Series(ids if field.kind is Kind.MULTI else ids[:, 0], dtype=_dtype(field))


def _write(
    source: str, moment: Columns, tables: dict[Side, Columns], parts: NDArray[np.int8], folder: Path
) -> Description:
    """Write Parquet files, and last `prepared.json`."""
    (folder / "interactions").mkdir()
    impressions = pl.DataFrame(moment)
    for part, name in enumerate(SPLITS):
        chosen = impressions.filter(pl.Series(parts == part))
        (folder / "interactions" / name).mkdir()
        chosen.write_parquet(folder / "interactions" / name / "part-00000.parquet", row_group_size=ROW_GROUP)
    digest = hashlib.sha256()
    for side, columns in tables.items():
        file = folder / f"{side}s" / "part-0.parquet"
        file.parent.mkdir()
        pl.DataFrame(columns).write_parquet(file, row_group_size=ROW_GROUP)
        digest.update(bytes.fromhex(sha256(file)))
    description = Description(
        source=source,
        rows={name: int((parts == part).sum()) for part, name in enumerate(SPLITS)},
        users=len(tables[Side.USER][KEY]),
        items=len(tables[Side.ITEM][KEY]),
        digest=digest.hexdigest(),
    )
    write_text(folder / "prepared.json", description.model_dump_json(indent=1) + "\n")
    return description
