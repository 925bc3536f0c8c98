"""A tiny prepared data set, and inputs for a model of any schema."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from contract.dictionary import Dictionary
from contract.files import write_text
from contract.schema import Encoding, Field, Kind, Schema, Side, Task
from training.datasets.prepared import SPLITS, Description, weights_column

FIELDS = (
    Field(name="user", side=Side.USER, size=21),
    Field(name="likes", side=Side.USER, kind=Kind.MULTI, max_length=3, size=7),
    Field(name="age", side=Side.USER, kind=Kind.NUMERIC, mean=1.0, scale=2.0),
    Field(name="hour", side=Side.CONTEXT, size=5),
    Field(name="item", side=Side.ITEM, size=11),
    Field(name="price", side=Side.ITEM, kind=Kind.NUMERIC, transform="log1p"),
    Field(name="shelf", side=Side.CROSS, size=4),
)
RICH = (
    Field(name="user", side=Side.USER, size=21),
    Field(name="likes", side=Side.USER, kind=Kind.MULTI, max_length=3, weights="liked", size=7),
    Field(name="age", side=Side.USER, kind=Kind.NUMERIC, mean=1.0, scale=2.0),
    Field(name="hour", side=Side.CONTEXT, encoding=Encoding.HOUR, default="now", size=25),
    Field(name="user_hour", side=Side.CONTEXT, cross=("user", "hour"), encoding=Encoding.HASH, buckets=30, size=31),
    Field(name="item", side=Side.ITEM, size=11),
    Field(name="tags", side=Side.ITEM, kind=Kind.MULTI, max_length=2, weights="tagged", size=9),
    Field(name="price", side=Side.ITEM, encoding=Encoding.QUANTILE, buckets=4, edges=(1.0, 2.0, 5.0), size=5),
    Field(name="stars", side=Side.ITEM, kind=Kind.NUMERIC, transform="none"),
    Field(name="shelf", side=Side.CROSS, size=4),
    Field(name="user_item", side=Side.CROSS, cross=("user", "item"), encoding=Encoding.HASH, buckets=50, size=51),
)  # every option of a field
CLICK = Task(name="ctr", label="click")
BUY = Task(name="cvr", label="buy", space="ctr")


def schema(fields: Sequence[Field] = FIELDS, tasks: Sequence[Task] = (CLICK, BUY)) -> Schema:
    """A schema as `prepare` would have filled it in."""
    return Schema(fields=tuple(fields), tasks=tuple(tasks))


def inputs(of: Schema, items: int, requests: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random inputs of `Ranker.forward`, every id in range."""
    random = np.random.default_rng(seed)
    sides = [
        (
            torch.from_numpy(_ids(random, fields, rows)),
            torch.from_numpy(random.normal(size=(rows, sum(field.numbers for field in fields))).astype(np.float32)),
        )
        for rows, fields in ((requests, of.request_fields), (items, of.item_fields))
    ]
    return *sides[0], *sides[1], torch.from_numpy(random.integers(0, requests, items))


def prepare(path: Path, of: Schema, rows: int = 400, seed: int = 0) -> Path:
    """Write a prepared data set whose labels depend on the first field's id; cvr is known where ctr is 1."""
    random = np.random.default_rng(seed)
    for split in SPLITS:
        columns = {field.name: _column(random, field, rows) for field in of.fields if not field.cross}
        columns |= {weights_column(field): _weights(random, field, rows) for field in of.fields if field.weights}
        signal = columns[of.fields[0].name].to_numpy() % 3 == 0
        for task in of.tasks:
            positive = random.random(rows) < np.where(signal, 0.8, 0.3)
            columns[f"label:{task.name}"] = pl.Series(positive.astype(np.float32))
        (path / "interactions" / split).mkdir(parents=True, exist_ok=True)
        pl.DataFrame(columns).write_parquet(path / "interactions" / split / "part-00000.parquet")
    for field in of.fields:
        if field.needs_dictionary:
            dictionary = Dictionary.build({f"value {i}": 1 for i in range(1, field.size)})
            (path / "dictionaries").mkdir(exist_ok=True)
            dictionary.save(path / "dictionaries" / f"{field.name}.npz")
    of.save(path / "schema.json")
    description = Description(source="tiny", rows=dict.fromkeys(SPLITS, rows), users=0, items=0, digest="none")
    write_text(path / "prepared.json", description.model_dump_json())
    return path


def _column(random: np.random.Generator, field: Field, rows: int) -> pl.Series:
    if field.kind is Kind.NUMERIC:
        return pl.Series(random.normal(size=rows).astype(np.float32))
    ids = _ids(random, (field,), rows)
    if field.kind is Kind.MULTI:
        return pl.Series(ids, dtype=pl.Array(pl.Int32, field.slots))
    return pl.Series(ids[:, 0])


def _weights(random: np.random.Generator, field: Field, rows: int) -> pl.Series:
    weights = random.exponential(size=(rows, field.slots)).astype(np.float32)
    return pl.Series(weights, dtype=pl.Array(pl.Float32, field.slots))


def _ids(
    random: np.random.Generator, fields: Sequence[Field], rows: int
) -> "np.ndarray[tuple[int, int], np.dtype[np.int32]]":
    columns = [random.integers(0, field.size, rows) for field in fields for _ in range(field.slots)]
    return np.array(columns, np.int32).reshape(len(columns), rows).T.copy()
