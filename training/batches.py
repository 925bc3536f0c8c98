"""One split as tensors, and batches of it by index: whole columns move, never rows one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from contract.errors import DataError
from contract.schema import Schema
from training.datasets.prepared import Matrices


@dataclass(frozen=True)
class Batch:
    """n impressions: the inputs of `Ranker.raw`, labels [n, tasks], and 1 where a row counts for a task."""

    request_ids: Tensor
    request_dense: Tensor
    item_ids: Tensor
    item_dense: Tensor
    labels: Tensor
    counted: Tensor

    @classmethod
    def of(cls, matrices: Matrices, schema: Schema, device: torch.device) -> Self:
        """A whole split; a row counts where the label is known and, for a task in a space, that space's label is 1."""
        if absent := [task.name for task in schema.tasks if task.name not in matrices.labels]:
            raise DataError(f"the prepared data have no labels of task '{absent[0]}'; prepare them again")
        known = {name: ~np.isnan(labels) for name, labels in matrices.labels.items()}
        counted = [
            known[task.name] if task.space == "all" else known[task.name] & (matrices.labels[task.space] == 1)
            for task in schema.tasks
        ]
        labels = np.nan_to_num(np.stack([matrices.labels[task.name] for task in schema.tasks], axis=1))
        arrays = (matrices.request_ids, matrices.request_dense, matrices.item_ids, matrices.item_dense)
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        tensors += [torch.from_numpy(labels), torch.from_numpy(np.stack(counted, axis=1).astype(np.float32))]
        return cls(*(tensor.to(device) for tensor in tensors))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `Ranker.raw` takes: every impression is a request of its own."""
        return self.request_ids, self.request_dense, self.item_ids, self.item_dense

    def rows(self, index: Tensor | slice) -> Self:
        """These rows."""
        tensors = (getattr(self, name) for name in self.__dataclass_fields__)
        return type(self)(*(tensor[index] for tensor in tensors))

    def in_order(self, size: int) -> Iterator[Self]:
        """Batches of consecutive rows."""
        return (self.rows(slice(start, start + size)) for start in range(0, len(self), size))

    def shuffled(self, size: int, generator: torch.Generator) -> Iterator[Self]:
        """Batches of one epoch in an order that the generator draws."""
        order = torch.randperm(len(self), generator=generator).to(self.labels.device)
        return (self.rows(order[start : start + size]) for start in range(0, len(self), size))
