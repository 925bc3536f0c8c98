"""What PyTorch says about a request: from prepared tables and raw features, with no service involved."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from contract.encoding import encode_field
from contract.schema import Field, Side
from training.checkpoint import load_checkpoint
from training.datasets.prepared import KEY, Prepared, dense_matrix, ids_matrix

Features = dict[str, Any]


class Reference:
    """A data set and a checkpoint that was trained on it."""

    def __init__(self, data: Path, run: Path) -> None:
        self.data, self.model = Prepared.open(data), load_checkpoint(run).model

    @cached_property
    def tables(self) -> dict[Side, pl.DataFrame]:
        """Stored rows by side."""
        return {side: self.data.table(side).collect() for side in (Side.USER, Side.ITEM)}

    def keys(self, side: Side) -> list[str]:
        """Ids of the stored users or items."""
        keys: list[str] = self.tables[side][KEY].to_list()
        return keys

    def scores(
        self, user: str, items: list[str], context: Features, crosses: list[Features]
    ) -> dict[str, NDArray[np.float32]]:
        """Scores [N] by task."""
        schema = self.data.schema
        columns = {
            **self._stored(Side.USER, [user]),
            **self._given(Side.CONTEXT, [context]),
            **self._stored(Side.ITEM, items),
            **self._given(Side.CROSS, crosses),
        }
        inputs = [
            matrix(columns, fields, rows)
            for fields, rows in ((schema.request_fields, 1), (schema.item_fields, len(items)))
            for matrix in (ids_matrix, dense_matrix)
        ]
        with torch.inference_mode():
            outputs = self.model(*map(torch.from_numpy, [*inputs, np.zeros(len(items), np.int32)]))
        return {task.name: output.numpy() for task, output in zip(schema.tasks, outputs, strict=True)}

    def _stored(self, side: Side, keys: list[str]) -> dict[str, pl.Series]:
        row_of = {key: row for row, key in enumerate(self.keys(side))}
        rows = self.tables[side][[row_of[key] for key in keys]]
        return {field.name: rows[field.name] for field in self.data.schema.on(side)}

    def _given(self, side: Side, features: list[Features]) -> dict[str, pl.Series]:
        def encoded(field: Field) -> pl.Series:
            values = encode_field(field, self.data.dictionaries, [row.get(field.name) for row in features])
            return pl.Series(values[:, 0] if field.slots == 1 else values)

        return {field.name: encoded(field) for field in self.data.schema.on(side)}
