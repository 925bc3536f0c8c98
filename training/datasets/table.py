"""Source `table`: your own interactions, users and items in CSV, JSON lines or Parquet, read by your own schema."""

from collections.abc import Iterable
from pathlib import Path

from contract.errors import DataError
from contract.schema import Schema, Side
from training.datasets.files.raw_file import table_of
from training.datasets.files.raw_folder import SUFFIXES
from training.datasets.partitions import Table
from training.datasets.raw import Raw
from training.datasets.schema_file import read_schema_file

SCHEMA = "schema.yaml"


def read_tables(
    folder: Path | None,
    interactions: Path | None = None,
    users: Path | None = None,
    items: Path | None = None,
    schema: Path | None = None,
) -> Raw:
    """Read interactions, users, items and schema.yaml of a folder; what is given by name goes before them.

    Each is a file (interactions.csv) or a folder of files (interactions/). `folder` may also be the interactions file
    itself, with a schema.yaml beside it.
    """
    if folder is not None and folder.is_file():
        interactions, schema = interactions or folder, schema or folder.parent / SCHEMA
        folder = None
    interactions = interactions or _find(folder, "interactions")
    users, items = users or _find(folder, "users"), items or _find(folder, "items")
    if interactions is None:
        where = (
            f"{folder}: no interactions.csv, .jsonl, .parquet or folder interactions" if folder else "no interactions"
        )
        raise DataError(f"{where}; give --raw DIR, or --interactions FILE")
    if schema is None and folder is None:
        raise DataError("no schema; give --schema FILE, which `python -m training schema` drafts")
    known = read_schema_file(schema or (folder or Path()) / SCHEMA)
    wanted = set(_columns(known))
    return Raw(
        "table",
        known,
        table_of(interactions, wanted, set(_needed(known))),
        _side_table(users, known, Side.USER, known.user_key),
        _side_table(items, known, Side.ITEM, known.item_key),
    )


def _columns(schema: Schema) -> Iterable[str]:
    """Every raw column that the interactions may hold."""
    yield from _needed(schema)
    yield from (column for field in schema.fields for column in field.columns)
    yield from (f"truth:{task.name}" for task in schema.tasks)


def _needed(schema: Schema) -> Iterable[str]:
    """Raw columns without which a row of the interactions is worth nothing."""
    yield from (name for name in (schema.user_key, schema.item_key, schema.time, schema.split.column) if name)
    yield from (task.label for task in schema.tasks)


def _side_table(path: Path | None, schema: Schema, side: Side, key: str | None) -> Table | None:
    if path is None:
        return None
    if key is None:
        raise DataError(f"{path}: the schema has no {side}_key to join it by; name its id column, or leave it out")
    return table_of(path, {key, *(column for field in schema.on(side) for column in field.columns)})


def _find(folder: Path | None, stem: str) -> Path | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = [path for suffix in ("", *SUFFIXES) if (path := folder / f"{stem}{suffix}").exists()]
    if len(found) > 1:
        raise DataError(f"{folder}: both {found[0].name} and {found[1].name}; remove one, or name it by --{stem}")
    return found[0] if found else None
