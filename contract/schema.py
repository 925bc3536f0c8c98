"""The schema: which fields and tasks exist, on which side, and what an encoded row means.

One class serves three moments: the YAML a person writes, `schema.json` of prepared data (sizes, lineages and
numeric scales filled in), and `schema.json` inside a bundle.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic import Field as Attribute

from contract.errors import SchemaError, first_error
from contract.files import write_text

Name = Annotated[str, Attribute(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=64)]


class Side(StrEnum):
    """Where a field's value comes from. `user` and `context` are one a request; `item` and `cross` one a candidate."""

    USER = "user"  # stored row of the user
    CONTEXT = "context"  # arrives with the request
    ITEM = "item"  # stored row of the item
    CROSS = "cross"  # arrives with the candidate: user x item, position, price now


class Kind(StrEnum):
    """What a value is."""

    CATEGORICAL = "categorical"
    MULTI = "multi"
    NUMERIC = "numeric"


class Encoding(StrEnum):
    """How a categorical value becomes an id."""

    DICTIONARY = "dictionary"
    HASH = "hash"


class Strict(BaseModel):
    """Frozen, and unknown keys are errors: a typo must not pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Field(Strict):
    """One feature. `size`, `lineage`, `mean` and `scale` are measured by `prepare`, not written by hand."""

    name: Name
    side: Side
    kind: Kind = Kind.CATEGORICAL
    column: str | None = None  # in the raw file, where it differs from `name`
    encoding: Encoding = Encoding.DICTIONARY
    min_count: int = Attribute(default=1, ge=1)
    buckets: int | None = Attribute(default=None, ge=1, le=2**31 - 2)
    max_length: int | None = Attribute(default=None, ge=1, le=1024)
    separator: str = Attribute(default="|", min_length=1)
    transform: Literal["none", "log1p"] = "none"
    default: str | float | None = None  # raw value where none is given; None: id 0, or 0.0
    size: int = Attribute(default=0, ge=0)  # ids are in [0, size)
    lineage: str = ""  # which dictionary: two first builds from other data differ, extensions agree
    mean: float = 0.0
    scale: float = Attribute(default=1.0, gt=0)

    @property
    def slots(self) -> int:
        """How many id columns the field takes in a row."""
        return {Kind.NUMERIC: 0, Kind.CATEGORICAL: 1, Kind.MULTI: self.max_length or 0}[self.kind]

    @property
    def needs_dictionary(self) -> bool:
        """Whether its ids come from a dictionary, not from hashing or from being a number."""
        return self.kind is not Kind.NUMERIC and self.encoding is Encoding.DICTIONARY

    @property
    def source(self) -> str:
        """The raw column."""
        return self.column or self.name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.max_length is not None) != (self.kind is Kind.MULTI):
            raise ValueError(f"field '{self.name}': max_length is for kind 'multi', and needed there")
        if self.kind is Kind.NUMERIC and isinstance(self.default, str):
            raise ValueError(f"field '{self.name}': a numeric default must be a number")
        if (self.buckets is not None) != (self.encoding is Encoding.HASH) or (self.buckets and self.slots == 0):
            raise ValueError(f"field '{self.name}': buckets is for encoding 'hash' of ids, and needed there")
        return self

    def meaning(self) -> list[object]:
        """All that changes what an encoded value of this field means."""
        default = str(self.default) if self.default is not None else None
        return [self.name, self.side, self.kind, self.encoding, self.buckets, self.max_length, default, self.lineage]


class Task(Strict):
    """One thing to predict. Order in the schema is the order of the chain (click before conversion)."""

    name: Name
    kind: Literal["binary", "continuous"] = "binary"
    label: str  # raw column
    space: str = "all"  # "all" impressions, or the name of the binary task whose label must be 1


class Split(Strict):
    """How interactions are divided; `time` and `user` keep later rows, or whole users, out of training."""

    by: Literal["random", "time", "user"] = "random"
    train: float = Attribute(default=0.8, gt=0, lt=1)
    validation: float = Attribute(default=0.1, gt=0, lt=1)
    seed: int = 20261122

    @model_validator(mode="after")
    def _leaves_a_test_part(self) -> Self:
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
        inputs = {field.source for field in self.fields}
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


def dense_columns(fields: Iterable[Field]) -> dict[str, int]:
    """Which dense column each numeric field takes in the matrix of these fields."""
    return {name: i for i, name in enumerate(f.name for f in fields if f.kind is Kind.NUMERIC)}


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
