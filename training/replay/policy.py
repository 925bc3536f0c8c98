"""Policies made of a trained model: probabilities of each item at each round, from its click probabilities."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from rich.progress import track

from contract.encoding import encode_field
from contract.errors import DataError
from contract.schema import Side
from training.checkpoint import load_checkpoint
from training.datasets.prepared import KEY, Prepared, dense_matrix, ids_matrix
from training.replay.log import Log

_ROUNDS = 64  # in one forward pass, each with all its items
_SMALLEST = 1e-9


def click_probabilities(run: Path, data: Prepared, log: Log) -> NDArray[np.float64]:
    """The model's ctr of every item at every round: [n, K]."""
    checkpoint = load_checkpoint(run, against=data)
    names = [task.name for task in checkpoint.schema.tasks]
    if "ctr" not in names:
        raise DataError(f"{run}: has no task 'ctr' ({', '.join(names)}); replay ranks by clicks")
    model, place = checkpoint.model.eval(), names.index("ctr")
    parts = []
    with torch.inference_mode():
        for inputs in _inputs(data, log):
            parts.append(model(*map(torch.from_numpy, inputs))[place].numpy().astype(np.float64))
    return np.concatenate(parts).reshape(len(log.rows), len(log.items))


def greedy(ctr: NDArray[np.float64]) -> NDArray[np.float64]:
    """All on the item of the highest ctr: [n, K]."""
    chances: NDArray[np.float64] = np.eye(ctr.shape[1])[ctr.argmax(axis=1)]
    return chances


def softmax(ctr: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """In proportion to ctr ** (1 / temperature): [n, K]."""
    logits = np.log(np.maximum(ctr, _SMALLEST)) / temperature
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _inputs(data: Prepared, log: Log) -> Iterator[list[NDArray[np.generic]]]:
    """The graph's five inputs, for some rounds after another."""
    schema, items = data.schema, len(log.items)
    stored = data.table(Side.ITEM).collect()
    row_of = {key: row for row, key in enumerate(stored[KEY].to_list())}
    table = stored[[row_of[item] for item in log.items]]
    starts = range(0, len(log.rows), _ROUNDS)
    for start in track(starts, f"{log.policy}/{log.campaign}", transient=True):
        rows = log.rows[start : start + _ROUNDS]
        n = len(rows)
        cross = {
            "position": np.repeat(rows["position"].to_numpy(), items).tolist(),
            "affinity": log.affinity[start : start + n].ravel().tolist(),
        }
        given = {
            **{field.name: rows[field.name].to_list() for field in schema.on(Side.USER, Side.CONTEXT)},
            **{field.name: cross[field.name] for field in schema.on(Side.CROSS)},
        }
        columns = {name: _encoded(data, name, values) for name, values in given.items()}
        columns |= {field.name: pl.concat([table[field.name]] * n) for field in schema.on(Side.ITEM)}
        yield [
            ids_matrix(columns, schema.request_fields, n),
            dense_matrix(columns, schema.request_fields, n),
            ids_matrix(columns, schema.item_fields, n * items),
            dense_matrix(columns, schema.item_fields, n * items),
            np.repeat(np.arange(n, dtype=np.int32), items),
        ]


def _encoded(data: Prepared, name: str, values: list[str | float]) -> pl.Series:
    field = data.schema.by_name[name]
    encoded = encode_field(field, data.dictionaries, values)
    return pl.Series(encoded[:, 0] if field.slots == 1 else encoded)
