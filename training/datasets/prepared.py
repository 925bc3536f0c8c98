"""A prepared data set on disk: what `prepare` writes, and `train` and `export features` read. No torch.

    schema.json                 sizes, dictionary lineages and numeric scales filled in
    dictionaries/<field>.npz    value → id
    interactions/<split>/*.parquet
                                `:user` and `:item` (row numbers in users/ and items/), `label:<task>` (null: unknown),
                                `truth:<task>` where the source knows it, and every field whose value belongs to the
                                moment: context, cross, and user or item fields that came with the interaction
    users/*.parquet             `:key` (raw id) and the user's encoded fields, latest values; items/ likewise
    prepared.json               source, rows a split; written last

Encoded columns: Int32 (categorical), Array(Int32, max_length) (multi, padded with 0), Float32 (numeric); beside a
weighted multi field `<field>:weights`, Array(Float32, max_length). Crosses are no columns: `joined` computes them.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field as Attribute
from pydantic import ValidationError

from contract.bundle import read_dictionaries
from contract.crossing import Crosses
from contract.dictionary import Dictionary
from contract.errors import DataError, first_error
from contract.schema import Field, Kind, Schema, Side, Strict, read_schema

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
KEY, USER, ITEM = ":key", ":user", ":item"
ROW_GROUP = 131_072  # rows: what `prepare` writes together, and training reads at once
ROW_NUMBER = {Side.USER: USER, Side.ITEM: ITEM}


class Seen(Strict):
    """What a field had to tell in the impressions of one split; `values` counts every element of a multi field."""

    missing: int  # impressions without a value, or whose number the default stood in for
    values: int
    unseen: int  # values without an id


class Answered(Strict):
    """Rows of a task's space whose label is known, and the sum of their labels: of a binary task the positive ones."""

    rows: int
    total: float


class Day(Strict):
    """Impressions of one day by UTC, and their labels by task."""

    rows: int
    tasks: dict[str, Answered]


Days = dict[SplitName, dict[str, Day]]  # by split and date


class Description(Strict):
    """`prepared.json`: where the data came from and how many rows each split has."""

    source: str
    rows: dict[SplitName, int]
    users: int
    items: int
    digest: str  # of the users and items tables: names one load of them in Redis
    rejected: int = 0  # bad rows that were skipped: rejected.jsonl has them
    notes: dict[str, int] = Attribute(default={})  # what the source left out on purpose or found odd
    fields: dict[str, dict[SplitName, Seen]] = Attribute(default={})  # all that could be counted; crosses could not
    days: Days = Attribute(default={})  # where times are dates


@dataclass(frozen=True)
class Matrices:
    """One split in memory, in the graph's columns: n impressions, one request and one candidate each."""

    request_ids: NDArray[np.int32]  # [n, request slots]
    request_dense: NDArray[np.float32]  # [n, request numerics]
    item_ids: NDArray[np.int32]  # [n, item slots]
    item_dense: NDArray[np.float32]  # [n, item numerics]
    labels: dict[str, NDArray[np.float32]]  # by task, [n]; NaN where unknown
    truth: dict[str, NDArray[np.float32]]  # by task, [n]: true probability or mean, where the source knows it
    users: NDArray[np.int32] | None = None  # [n]: row numbers in users/, where the schema has a user key

    def __len__(self) -> int:
        return len(self.request_ids)


@dataclass(frozen=True)
class Prepared:
    """A prepared data set, opened."""

    path: Path
    schema: Schema
    description: Description

    @classmethod
    def open(cls, path: Path) -> "Prepared":
        """Open a folder that `prepare` finished; DataError where it did not."""
        try:
            description = Description.model_validate_json((path / "prepared.json").read_bytes())
        except FileNotFoundError:
            raise DataError(f"{path}: not a prepared data set; run `python -m training prepare`") from None
        except ValidationError as error:
            raise DataError(f"{path / 'prepared.json'}: {first_error(error)}") from None
        return cls(path, read_schema(path / "schema.json"), description)

    @cached_property
    def dictionaries(self) -> dict[str, Dictionary]:
        """Dictionaries by field name."""
        return read_dictionaries(self.path, self.schema)

    def table(self, side: Side) -> pl.LazyFrame:
        """Stored rows of users or items: `:key` and encoded fields."""
        return pl.scan_parquet(sorted((self.path / f"{side.value}s").glob("*.parquet")), glob=False)

    def parts(self, split: SplitName) -> list[Path]:
        """The files of one split, in the order of its rows; DataError where there are none."""
        if found := sorted((self.path / "interactions" / split).glob("*.parquet")):
            return found
        raise DataError(f"{self.path / 'interactions' / split}: no part-*.parquet; prepare the data again")

    def interactions(self, split: SplitName) -> pl.LazyFrame:
        """Impressions of one split."""
        return pl.scan_parquet(self.parts(split), glob=False)

    def matrices(self, split: SplitName) -> Matrices:
        """Load one split whole."""
        return self.joined(self.interactions(split).collect())

    @cached_property
    def stored(self) -> dict[Side, pl.DataFrame]:
        """The tables of users and items in memory, where the interactions point to them."""
        known = self.interactions("train").collect_schema()
        return {side: self.table(side).collect() for side, row in ROW_NUMBER.items() if row in known}

    def joined(self, moment: pl.DataFrame) -> Matrices:
        """Matrices of impressions: fields of the moment as they are, stored ones gathered by row number."""
        stored = {side: table[moment[ROW_NUMBER[side]].to_numpy()] for side, table in self.stored.items()}
        request, item = self.schema.request_fields, self.schema.item_fields
        columns = {
            name: moment[name] if name in moment.columns else stored[field.side][name]
            for field in self.schema.fields
            for name in encoded_columns(field)
        }
        request_ids, item_ids = (ids_matrix(columns, fields, len(moment)) for fields in (request, item))
        self._crosses.fill(request_ids, item_ids)
        return Matrices(
            request_ids,
            dense_matrix(columns, request, len(moment)),
            item_ids,
            dense_matrix(columns, item, len(moment)),
            self.by_task(moment, "label"),
            self.by_task(moment, "truth"),
            moment[USER].to_numpy() if USER in moment.columns else None,
        )

    @cached_property
    def _crosses(self) -> Crosses:
        return Crosses(self.schema)

    def by_task(self, moment: pl.DataFrame, prefix: str) -> dict[str, NDArray[np.float32]]:
        """Columns `<prefix>:<task>` by task; NaN where unknown."""
        named = {task.name: f"{prefix}:{task.name}" for task in self.schema.tasks}
        return {
            task: moment[column].cast(pl.Float32).fill_null(float("nan")).to_numpy()
            for task, column in named.items()
            if column in moment.columns
        }


def weights_column(field: Field) -> str:
    """The column beside a weighted field that holds the weights of its ids."""
    return f"{field.name}:weights"


def encoded_columns(field: Field) -> tuple[str, ...]:
    """The columns of prepared data that hold a field; none for a cross."""
    if field.cross:
        return ()
    return (field.name, weights_column(field)) if field.weights else (field.name,)


def ids_matrix(columns: dict[str, pl.Series], fields: tuple[Field, ...], rows: int) -> NDArray[np.int32]:
    """Id columns of these fields side by side: [rows, slots]; a cross is 0 until `Crosses` fills it in."""
    none = np.zeros((rows, 1), np.int32)
    parts = [none if f.cross else columns[f.name].to_numpy().reshape(rows, f.slots) for f in fields if f.slots]
    return np.hstack([np.empty((rows, 0), np.int32), *parts]).astype(np.int32, copy=False)


def dense_matrix(columns: dict[str, pl.Series], fields: tuple[Field, ...], rows: int) -> NDArray[np.float32]:
    """Numbers and weights of these fields side by side: [rows, numbers]."""
    names = [(f.name if f.kind is Kind.NUMERIC else weights_column(f), f.numbers) for f in fields if f.numbers]
    parts = [columns[name].to_numpy().reshape(rows, width) for name, width in names]
    return np.hstack([np.empty((rows, 0), np.float32), *parts]).astype(np.float32, copy=False)
