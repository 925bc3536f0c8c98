"""A prepared data set in the plainest form that every library takes: one npz, and a description of its columns.

Columns are named `f<i>` by the field's place in the schema, since libraries do not take every character. A number
becomes two columns, so that a library is told as much as Twinscore's models are: `f<i>`, standardised as they see it,
and `f<i>_bin`, which of 64 bins it lies in, as a categorical field. Bins end at quantiles of the DISTINCT training
values: by quantiles of rows, a field that is nearly always 0 would have few. DeepCTR-Torch's PLE on census, pair A, had
a test AUC of .9510 / .9545 with both columns, .9510 / .9538 with bins alone, .9451 / .9520 with numbers alone.

Weighted lists go without their weights: not every library takes them.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError
from contract.schema import Field, Kind, Schema, dense_columns, slot_columns
from training.datasets.prepared import SPLITS, Matrices, Prepared
from training.peers.trial import Column

BINS = 64
LIMIT = 20.0  # standard deviations, as in Twinscore's models
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Exchange:
    """What the libraries are told, and what their predictions are judged by. Labels are NaN where not counted."""

    columns: tuple[Column, ...]
    arrays: dict[str, NDArray[Any]]  # by `<split>/<column>`, and `<split>/labels` [n, tasks]
    tasks: tuple[str, ...]
    selection: tuple[float, ...]

    def save(self, folder: Path) -> None:
        """Write data.npz."""
        np.savez(folder / "data.npz", **self.arrays)  # type: ignore[arg-type]  # its stub wants a bool among the arrays

    def described(self) -> dict[str, object]:
        """The part of trial.json that tells of the data."""
        columns = [asdict(column) for column in self.columns]
        return {"columns": columns, "tasks": self.tasks, "selection": self.selection}


def exchange(data: Prepared) -> Exchange:
    """All splits of a prepared data set; DataError for a task that the libraries cannot take."""
    schema = data.schema
    if late := [task.name for task in schema.tasks if task.kind != "binary"]:
        raise DataError(f"task '{late[0]}' is continuous: the comparison takes binary tasks; prepare without it")
    splits = {split: data.matrices(split) for split in SPLITS}
    knots = {field.name: _knots(field, splits["train"], schema) for field in _numbers(schema)}
    arrays, columns = {}, tuple(_columns(schema))
    for split, matrices in splits.items():
        for name, values in _inputs(schema, matrices, knots):
            arrays[f"{split}/{name}"] = values
        arrays[f"{split}/labels"] = labels_where_counted(schema, matrices)
    selection = _selection(arrays["validation/labels"])
    if not any(selection):
        raise DataError(f"{data.path}: no task has both classes in its validation split; prepare more data")
    return Exchange(columns, arrays, tuple(task.name for task in schema.tasks), selection)


def labels_where_counted(schema: Schema, matrices: Matrices) -> Floats:
    """Labels [n, tasks]; NaN where unknown, or outside the task's space."""
    columns = []
    for task in schema.tasks:
        if task.name not in matrices.labels:
            raise DataError(f"the prepared data have no labels of task '{task.name}'; prepare them again")
        inside = True if task.space == "all" else matrices.labels[task.space] == 1
        columns.append(np.where(inside, matrices.labels[task.name], np.nan))
    return np.stack(columns, axis=1).astype(np.float32)


def _columns(schema: Schema) -> Iterator[Column]:
    for i, field in enumerate(schema.fields):
        if field.kind is Kind.NUMERIC:
            yield Column(f"f{i}", "numeric")
            yield Column(f"f{i}_bin", "categorical", BINS)
        else:
            yield Column(f"f{i}", field.kind.value, field.size, field.slots)


def _inputs(schema: Schema, matrices: Matrices, knots: dict[str, Floats]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each column's values, in the order of `_columns`."""
    for i, field in enumerate(schema.fields):
        if field.kind is Kind.NUMERIC:
            z = _standard(field, _of(field, matrices, schema))
            yield f"f{i}", z
            yield f"f{i}_bin", np.searchsorted(knots[field.name], z, side="right").astype(np.int32)
        else:
            ids = _of(field, matrices, schema)
            safe = np.where((ids >= 0) & (ids < field.size), ids, 0).astype(np.int32)
            yield f"f{i}", safe if field.kind is Kind.MULTI else safe[:, 0]


def _of(field: Field, matrices: Matrices, schema: Schema) -> NDArray[Any]:
    """The field's part of the matrices: numbers [n], ids [n, slots]."""
    request = field in schema.request_fields
    fields = schema.request_fields if request else schema.item_fields
    if field.kind is Kind.NUMERIC:
        dense = matrices.request_dense if request else matrices.item_dense
        return dense[:, dense_columns(fields)[field.name]][:, 0]
    ids = matrices.request_ids if request else matrices.item_ids
    return ids[:, slot_columns(fields)[field.name]]


def _numbers(schema: Schema) -> list[Field]:
    return [field for field in schema.fields if field.kind is Kind.NUMERIC]


def _standard(field: Field, values: Floats) -> Floats:
    x = np.sign(values) * np.log1p(np.abs(values)) if field.transform == "log1p" else values
    z: Floats = np.clip((x - field.mean) / field.scale, -LIMIT, LIMIT).astype(np.float32)
    return z


def _knots(field: Field, train: Matrices, schema: Schema) -> Floats:
    """Inner ends of the bins: with few distinct values each has a bin of its own."""
    distinct = np.unique(_standard(field, _of(field, train, schema)))
    if len(distinct) <= BINS:
        return distinct[1:]
    return np.unique(np.quantile(distinct, np.arange(1, BINS) / BINS)).astype(np.float32)


def _selection(labels: Floats) -> tuple[float, ...]:
    """1 / variance of each task's AUC on these rows, P N / (P + N + 1) but for a factor; 0 where it has none."""
    positives, rows = np.nansum(labels, axis=0), (~np.isnan(labels)).sum(axis=0)
    return tuple(float(weight) for weight in positives * (rows - positives) / (rows + 1))
