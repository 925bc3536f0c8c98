"""The schema: which fields and tasks exist, on which side, and what an encoded row means.

One class serves three moments: the YAML a person writes, `schema.json` of prepared data (sizes, lineages and
numeric scales filled in), and `schema.json` inside a bundle.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field as Attribute
from pydantic import ValidationError, model_validator

from contract.errors import SchemaError, first_error
from contract.field import Encoding, Field, Kind, Name, Side, Strict
from contract.files import write_text

__all__ = [
    "Encoding", "Field", "Kind", "Name", "Schema", "Side", "Split", "Strict", "Task",
    "dense_columns", "parse_schema", "read_schema", "slot_columns", "widths",
]  # fmt: skip


class Task(Strict):
    """One thing to predict. Order in the schema is the order of the chain (click before conversion)."""

    name: Name
    kind: Literal["binary", "continuous"] = "binary"
    label: str  # raw column
    space: str = "all"  # "all" impressions, or the name of the binary task whose label must be 1


class Split(Strict):
    """How interactions are divided; `time` and `user` keep later rows, or whole users, out of training.

    By `column`: each row says train, validation or test there.
    """

    by: Literal["random", "time", "user", "column"] = "random"
    column: str | None = None  # raw
    train: float = Attribute(default=0.8, gt=0, lt=1)
    validation: float = Attribute(default=0.1, gt=0, lt=1)
    seed: int = 20261122

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.column is not None) != (self.by == "column"):
            raise ValueError("split: column is for by 'column', and needed there")
        if self.train + self.validation >= 1 - 1e-9:
            raise ValueError("split: train + validation must leave a part for test (their sum must stay below 1)")
        return self


class Schema(Strict):
    """Fields, tasks, keys and split of one data set."""

    version: Literal[1] = 1
    user_key: str | None = None  # raw columns that identify user, item and moment
    item_key: str | None = None
    time: str | None = None
    fields: tuple[Field, ...] = Attribute(min_length=1)
    tasks: tuple[Task, ...] = Attribute(min_length=1)
    split: Split = Split()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (("field", [f.name for f in self.fields]), ("task", [t.name for t in self.tasks])):
            if doubled := [name for name, count in Counter(names).items() if count > 1]:
                raise ValueError(f"{what} '{doubled[0]}' appears twice; names must be unique")
        for field in self.fields:
            if field.cross:
                self._check_cross(field, field.cross)
        inputs = {column for field in self.fields for column in field.columns}
        binary = {task.name for task in self.tasks if task.kind == "binary"}
        for task in self.tasks:
            if task.label in inputs:
                raise ValueError(f"task '{task.name}': label '{task.label}' is also an input field; remove the field")
            if task.space != "all" and (task.space not in binary or task.space == task.name):
                raise ValueError(f"task '{task.name}': space '{task.space}' is neither 'all' nor another binary task")
        if self.split.by == "time" and self.time is None:
            raise ValueError("split by time needs the top-level key 'time' (a column)")
        if self.split.by == "user" and self.user_key is None:
            raise ValueError("split by user needs the top-level key 'user_key' (a column)")
        return self

    def _check_cross(self, field: Field, pair: tuple[str, str]) -> None:
        known = {each.name: each for each in self.fields}
        for name in pair:
            if name not in known or known[name].kind is not Kind.CATEGORICAL or known[name].cross:
                raise ValueError(
                    f"field '{field.name}': crosses '{name}', which is not a categorical field with a column"
                )
        of_request = all(known[name].side in (Side.USER, Side.CONTEXT) for name in pair)
        if field.side is not (side := Side.CONTEXT if of_request else Side.CROSS):
            raise ValueError(f"field '{field.name}': side must be '{side}', since it crosses {' and '.join(pair)}")

    def on(self, *sides: Side) -> tuple[Field, ...]:
        """Fields of these sides, side by side in the order asked for, schema order inside one."""
        return tuple(field for side in sides for field in self.fields if field.side is side)

    @cached_property
    def request_fields(self) -> tuple[Field, ...]:
        """Columns of `request_ids` and `request_dense`: user first, then context."""
        return self.on(Side.USER, Side.CONTEXT)

    @cached_property
    def item_fields(self) -> tuple[Field, ...]:
        """Columns of `item_ids` and `item_dense`: item first, then cross."""
        return self.on(Side.ITEM, Side.CROSS)

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Fields by name."""
        return {field.name: field for field in self.fields}

    def fingerprint(self) -> str:
        """Stable hex hash of all that changes the meaning of a row (not of tasks, splits or dictionary growth)."""
        meaning = json.dumps([self.version, [field.meaning() for field in self.fields]], ensure_ascii=True)
        return hashlib.sha256(meaning.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write `schema.json` whole."""
        write_text(path, self.model_dump_json(indent=1, exclude_none=True) + "\n")


def slot_columns(fields: Iterable[Field]) -> dict[str, slice]:
    """Which id columns each categorical or multi field takes in the matrix of these fields."""
    columns, start = {}, 0
    for field in fields:
        if field.slots:
            columns[field.name] = slice(start, start + field.slots)
            start += field.slots
    return columns


def dense_columns(fields: Iterable[Field]) -> dict[str, slice]:
    """Which dense columns each numeric or weighted field takes in the matrix of these fields."""
    columns, start = {}, 0
    for field in fields:
        if field.numbers:
            columns[field.name] = slice(start, start + field.numbers)
            start += field.numbers
    return columns


def widths(fields: Iterable[Field]) -> tuple[int, int]:
    """How many id columns and dense columns the matrices of these fields have."""
    chosen = tuple(fields)
    return sum(field.slots for field in chosen), sum(field.numbers for field in chosen)


def parse_schema(content: object, where: str) -> Schema:
    """Validate decoded YAML or JSON; SchemaError names the place and the key."""
    try:
        return Schema.model_validate(content)
    except ValidationError as error:
        raise SchemaError(f"{where}: {first_error(error)}") from None


def read_schema(path: Path) -> Schema:
    """Read `schema.json`; SchemaError where it is absent, not JSON or not a schema."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SchemaError(f"{path}: no such file; `python -m training prepare` writes it") from None
    except ValueError as error:
        raise SchemaError(f"{path}: not JSON: {error}") from None
    return parse_schema(content, str(path))
