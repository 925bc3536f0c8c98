"""Where each field's values are: with the moment, in the side's own table, or both; missing columns are named here."""

from collections.abc import Iterator
from dataclasses import dataclass

from contract.errors import DataError
from contract.schema import Field, Schema, Side
from training.datasets.partitions import Table
from training.datasets.prepared import Prepared
from training.datasets.raw import Raw, RawTable, shown_names

AnyTable = RawTable | Table
STORED = (Side.USER, Side.ITEM)


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
    keys = {side: key for side, key in ((Side.USER, schema.user_key), (Side.ITEM, schema.item_key)) if key is not None}
    own = {Side.USER: raw.users, Side.ITEM: raw.items}
    for use, column in _needed(schema):
        _require(raw.interactions, column, use)
    for side, key in keys.items():
        _require(raw.interactions, key, f"{side}_key")
        if (table := own[side]) is not None:
            _require(table, key, f"{side}_key")
    stored = {side: tuple(field for field in schema.on(side) if _held(field, keys[side], own[side])) for side in keys}
    held = {field.name for fields in stored.values() for field in fields}
    moment = tuple(field for field in schema.fields if field.name not in held and field.cross is None)
    for field in (*moment, *(field for fields in stored.values() for field in fields)):
        _require_field(raw, field, own.get(field.side) if field.side in keys else None, field.name in held)
    latest = {side: tuple(field for field in moment if field.side is side) for side in keys}
    return Places(keys, moment, stored, latest)


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
