"""Random inputs of the graphs, to compare them on: ids inside and outside their tables, heavy-tailed numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.bundle import INPUTS, Arrays
from contract.schema import Field, Kind, Schema, Side


def draw_inputs(schema: Schema, requests: int, items: int, seed: int) -> Arrays:
    """Inputs of the whole graph; one id in eight is 0, one in eight lies outside its table."""
    drawn = draw_split_inputs(schema, requests, items, items, seed)
    return joined({**drawn, "item_rows": np.arange(items, dtype=np.int32)})


def draw_split_inputs(schema: Schema, requests: int, items: int, candidates: int, seed: int) -> Arrays:
    """Inputs of a split ranker: candidates share `requests` and `items`."""
    random = np.random.default_rng(seed)
    item, cross = schema.on(Side.ITEM), schema.on(Side.CROSS)
    return {
        "request_ids": _draw_ids(schema.request_fields, requests, random),
        "request_dense": _draw_dense(schema.request_fields, requests, random),
        "item_ids": _draw_ids(item, items, random),
        "item_dense": _draw_dense(item, items, random),
        "cross_ids": _draw_ids(cross, candidates, random),
        "cross_dense": _draw_dense(cross, candidates, random),
        "request_of_item": np.sort(random.integers(0, requests, candidates)).astype(np.int32),
        "item_rows": random.integers(0, items, candidates).astype(np.int32),
    }


def joined(inputs: Arrays) -> Arrays:
    """The same candidates for the whole graph."""
    rows = inputs["item_rows"]
    columns = {
        "item_ids": np.hstack([inputs["item_ids"][rows], inputs["cross_ids"]]),
        "item_dense": np.hstack([inputs["item_dense"][rows], inputs["cross_dense"]]),
    }
    return {name: columns.get(name, inputs.get(name)) for name in INPUTS}  # type: ignore[misc]


def _draw_ids(fields: Sequence[Field], rows: int, random: np.random.Generator) -> NDArray[np.int32]:
    parts = [_draw_field(field, rows, random) for field in fields if field.slots]
    return np.hstack([np.empty((rows, 0), np.int32), *parts]).astype(np.int32)


def _draw_field(field: Field, rows: int, random: np.random.Generator) -> NDArray[np.int64]:
    ids = random.integers(0, field.size, (rows, field.slots))
    kind = random.integers(0, 8, ids.shape)
    beyond = random.choice([field.size, field.size + 1, 2**31 - 1, -1], ids.shape)
    return np.where(kind == 0, 0, np.where(kind == 1, beyond, ids))


def _draw_dense(fields: Sequence[Field], rows: int, random: np.random.Generator) -> NDArray[np.float32]:
    columns = [_draw_numbers(field, rows, random) for field in fields if field.numbers]
    return np.column_stack([np.empty((rows, 0)), *columns]).astype(np.float32)


def _draw_numbers(field: Field, rows: int, random: np.random.Generator) -> NDArray[np.float64]:
    if field.kind is Kind.NUMERIC:
        return np.asarray(field.mean + 3 * field.scale * random.standard_t(3, rows))
    return random.exponential(size=(rows, field.numbers))  # weights
