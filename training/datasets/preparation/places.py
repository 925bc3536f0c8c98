"""Where each field's values are: with the moment, in the side's own table, or both; missing columns are named here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from contract.errors import DataError
from contract.schema import Field, Schema, Side
from training.datasets.partitions import Table
from training.datasets.prepared import Prepared
from training.datasets.raw import Raw, RawTable, shown_names

AnyTable = RawTable | Table
STORED = (Side.USER, Side.ITEM)
MEASURED = {"size", "lineage", "mean", "scale", "edges", "column", "weights", "min_count"}  # and what may change


@dataclass(frozen=True)
class Places:
    """Fields by place, in schema order. `latest`: moment fields whose last value is stored as well."""

    keys: dict[Side, str]
    moment: tuple[Field, ...]
    stored: dict[Side, tuple[Field, ...]]
    latest: dict[Side, tuple[Field, ...]]


def places(raw: Raw, earlier: Prepared | None = None) -> Places:
    """Sort the fields; DataError names the column that no table has."""
    schema = raw.schema
    if earlier is not None:
        _require_sound(earlier)
        _require_keys(schema, earlier)
    keys = {side: key for side, key in ((Side.USER, schema.user_key), (Side.ITEM, schema.item_key)) if key is not None}
    own = {Side.USER: raw.users, Side.ITEM: raw.items}
    for use, column in _needed(schema):
        _require(raw.interactions, column, use)
    for side, key in keys.items():
        _require(raw.interactions, key, f"{side}_key")
        if (table := own[side]) is not None:
            _require(table, key, f"{side}_key")
    kept = _kept(raw, earlier)
    stored = {
        side: tuple(field for field in schema.on(side) if field.name in kept or _held(field, keys[side], own[side]))
        for side in keys
    }
    held = {field.name for fields in stored.values() for field in fields}
    moment = tuple(field for field in schema.fields if field.name not in held and field.cross is None)
    given = (field for fields in stored.values() for field in fields if field.name not in kept)
    for field in (*moment, *given):
        _require_field(raw, field, own.get(field.side) if field.side in keys else None, field.name in held)
    latest = {side: tuple(field for field in moment if field.side is side) for side in keys}
    found = Places(keys, moment, stored, latest)
    if earlier is not None:
        _require_same(found, schema, earlier)
    return found


def _require_sound(earlier: Prepared) -> None:
    """What is damaged or missing of an earlier data set is named before raw files are read."""
    for side, count in ((Side.USER, earlier.description.users), (Side.ITEM, earlier.description.items)):
        files = sorted((earlier.path / f"{side}s").glob("*.parquet"))
        rows = sum(_rows_in(file) for file in files)
        if rows != count or not files:
            told = f"{rows} rows where prepared.json says {count}"
            raise DataError(f"{earlier.path / f'{side}s'}: {told}; prepare the earlier data set again")
    _rows_in(earlier.parts("train")[0])


def _require_keys(schema: Schema, earlier: Prepared) -> None:
    for name in ("user_key", "item_key"):
        given, known = getattr(schema, name) is not None, getattr(earlier.schema, name) is not None
        if given != known:
            has, lacks = ("the new schema", earlier.path) if given else (earlier.path, "the new schema")
            raise DataError(f"{name}: {has} has one and {lacks} has not; only rows of the same keys can be taken over")


def _rows_in(file: Path) -> int:
    try:
        found: int = pl.scan_parquet(file, glob=False).select(pl.len()).collect().item()
    except (PolarsError, OSError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{file}: cannot be read: {why}; prepare the earlier data set again") from None
    return found


def _kept(raw: Raw, earlier: Prepared | None) -> set[str]:
    """Fields that an earlier data set stores and that nothing says anew: their values stay."""
    if earlier is None:
        return set()
    said = {Side.USER: raw.users, Side.ITEM: raw.items}
    moment = earlier.interactions("train").collect_schema()
    return {
        field.name
        for field in raw.schema.on(*STORED)
        if field.name not in moment and said[field.side] is None and field.source not in raw.interactions
    }


def _require_same(found: Places, schema: Schema, earlier: Prepared) -> None:
    """New days must mean what the earlier ones do, field by field."""
    known, given = earlier.schema.by_name, schema.by_name
    if names := [name for name in (*known, *given) if name not in known or name not in given]:
        has, lacks = (earlier.path, "the new schema") if names[0] in known else ("the new schema", earlier.path)
        raise DataError(
            f"field '{names[0]}': {has} has it and {lacks} has not; ids can only be added to the same fields"
        )
    moment, now = earlier.interactions("train").collect_schema(), {field.name for field in found.moment}
    for name, field in given.items():
        if field.model_dump(exclude=MEASURED) != known[name].model_dump(exclude=MEASURED):
            raise DataError(f"field '{name}': its options differ from those in {earlier.path}/schema.json; keep them")
        if field.cross is None and (name in moment) != (name in now):
            where = "comes with the interactions" if name in now else "is stored"
            raise DataError(f"field '{name}': {where} here, and not so in {earlier.path}; give it in the same table")


def _held(field: Field, key: str, own: AnyTable | None) -> bool:
    return field.source == key or (own is not None and field.source in own)


def _needed(schema: Schema) -> Iterator[tuple[str, str]]:
    if schema.time is not None:
        yield "time", schema.time
    if schema.split.by == "column" and schema.split.column is not None:
        yield "split", schema.split.column
    for task in schema.tasks:
        yield f"label of task '{task.name}'", task.label


def _require_field(raw: Raw, field: Field, own: AnyTable | None, held: bool) -> None:
    use = f"field '{field.name}'"
    table = own if held and own is not None else raw.interactions
    if field.source not in table and own is not None:
        raise DataError(
            f"{own.where} and {raw.interactions.where}: no column '{field.source}' ({use}); "
            "mend `column:` or remove the field"
        )
    _require(table, field.source, use)
    if field.weights is not None:
        _require(table, field.weights, f"weights of {use}")


def _require(table: AnyTable, column: str, use: str) -> None:
    if column not in table:
        raise DataError(f"{table.where}: no column '{column}' ({use}); it has: {shown_names(table.names)}")
