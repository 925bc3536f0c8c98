"""Rows as batches of tensors: whole columns move, never rows one by one.

The order of an epoch is a function of seed and epoch alone, so that training resumes in its middle with nothing saved.
Under torchrun every process takes its own part of each batch.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contract.errors import DataError
from contract.schema import Schema
from training.datasets.prepared import Matrices
from training.distributed import place

T = TypeVar("T")


class Rows(Protocol):
    """A split that gives batches, from memory (`Batch`) or from disk (`Stream`)."""

    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """Where its batches lie."""
        ...

    @property
    def labels(self) -> Tensor:
        """[n, tasks]; 0 where unknown."""
        ...

    @property
    def counted(self) -> Tensor:
        """[n, tasks]: 1 where a row counts for a task."""
        ...

    @property
    def users(self) -> Tensor | None:
        """[n]: the user's row number, where the schema has a user key."""
        ...

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch."""
        ...

    def epoch(self, batch_size: int, seed: int, epoch: int, skip: int = 0) -> "Iterator[Batch]":
        """This process's part of every batch of an epoch, shuffled, from batch `skip` on."""
        ...

    def in_order(self, size: int, start: int = 0, stop: int | None = None) -> "Iterator[Batch]":
        """Rows [start, stop) in at most `size` at once."""
        ...

    def sample(self, rows: int) -> "Batch":
        """About `rows` rows, spread over all; all rows if there are no more."""
        ...


@dataclass(frozen=True)
class Batch:
    """n impressions: the inputs of `Ranker.raw`, labels [n, tasks], and 1 where a row counts for a task."""

    request_ids: Tensor
    request_dense: Tensor
    item_ids: Tensor
    item_dense: Tensor
    labels: Tensor
    counted: Tensor
    users: Tensor | None = None  # [n] row numbers in users/, where the schema has a user key

    @classmethod
    def of(cls, matrices: Matrices, schema: Schema, device: torch.device) -> Self:
        """A whole split; a row counts where the label is known and, for a task in a space, that space's label is 1."""
        labels, counted = targets(matrices.labels, schema)
        arrays = (matrices.request_ids, matrices.request_dense, matrices.item_ids, matrices.item_dense)
        tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]
        users = None if matrices.users is None else torch.tensor(matrices.users, device=device)
        request_ids, request_dense, item_ids, item_dense = tensors
        return cls(request_ids, request_dense, item_ids, item_dense, labels.to(device), counted.to(device), users)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        return self.labels.device

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `Ranker.raw` takes: every impression is a request of its own."""
        return self.request_ids, self.request_dense, self.item_ids, self.item_dense

    @property
    def nbytes(self) -> int:
        """Memory of all columns."""
        return sum(tensor.nbytes for tensor in self._tensors() if tensor is not None)

    def rows(self, index: Tensor | slice) -> Self:
        """These rows."""
        return type(self)(*(None if tensor is None else tensor[index] for tensor in self._tensors()))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> Self:
        """The same rows on a device; does not wait for the copy where they lie in pinned memory."""
        moved = (None if tensor is None else tensor.to(device, non_blocking=True) for tensor in self._tensors())
        return type(self)(*moved)  # type: ignore[arg-type]

    def pinned(self) -> Self:
        """The same rows in memory that a GPU copies from on its own."""
        return type(self)(*(None if tensor is None else tensor.pin_memory() for tensor in self._tensors()))  # type: ignore[arg-type]

    def blank(self) -> Self:
        """One row that counts for no task: what a process computes on when it has no rows left."""
        row = self.rows(slice(0, 1))
        return type(self)(*row.inputs, row.labels, torch.zeros_like(row.counted), row.users)

    def steps(self, batch_size: int) -> int:
        return math.ceil(len(self) / batch_size)

    def epoch(self, batch_size: int, seed: int, epoch: int, skip: int = 0) -> Iterator["Batch"]:
        order = shuffled(len(self), seed, epoch).to(self.device)
        rank, world = place()
        for start in range(skip * batch_size, len(self), batch_size):
            own = order[start : start + batch_size][rank::world]
            yield self.rows(own) if len(own) else self.blank()

    def in_order(self, size: int, start: int = 0, stop: int | None = None) -> Iterator["Batch"]:
        end = len(self) if stop is None else stop
        return (self.rows(slice(begin, min(begin + size, end))) for begin in range(start, end, size))

    def sample(self, rows: int) -> "Batch":
        return self if len(self) <= rows else self.rows(slice(None, None, math.ceil(len(self) / rows)))

    def _tensors(self) -> list[Tensor | None]:
        return [getattr(self, field.name) for field in fields(self)]


def targets(by_task: Mapping[str, NDArray[np.float32]], schema: Schema) -> tuple[Tensor, Tensor]:
    """Labels and counted rows [n, tasks] of labels by task, NaN where unknown."""
    if absent := [task.name for task in schema.tasks if task.name not in by_task]:
        raise DataError(f"the prepared data have no labels of task '{absent[0]}'; prepare them again")
    known = {name: ~np.isnan(labels) for name, labels in by_task.items()}
    counted = [
        known[task.name] if task.space == "all" else known[task.name] & (by_task[task.space] == 1)
        for task in schema.tasks
    ]
    labels = np.nan_to_num(np.stack([by_task[task.name] for task in schema.tasks], axis=1))
    return torch.from_numpy(labels), torch.from_numpy(np.stack(counted, axis=1).astype(np.float32))


def joined(batches: list[Batch]) -> Batch:
    """All rows of several batches."""
    columns = zip(*([getattr(batch, field.name) for field in fields(batch)] for batch in batches), strict=True)
    return Batch(*(None if column[0] is None else torch.cat(column) for column in columns))  # type: ignore[arg-type]


def shuffled(rows: int, *key: int) -> Tensor:
    """A permutation of `rows` numbers that the key alone decides."""
    seed = int(np.random.SeedSequence([part % 2**64 for part in key]).generate_state(1, np.uint64)[0])
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))


def delivered(batches: Iterator[Batch], source: torch.device, target: torch.device) -> Iterator[Batch]:
    """Batches on the target device; where they must be copied there, a thread gathers and pins the next ones."""
    if source == target:
        return batches
    return (batch.to(target) for batch in ahead((batch.pinned() for batch in batches), depth=4))


class _Failed(NamedTuple):
    error: BaseException


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The same items, made by a thread while earlier ones are in use; at most `depth` wait."""
    made: SimpleQueue[T | _Failed | None] = SimpleQueue()  # None: the end
    room, left = Semaphore(depth), False

    def work() -> None:
        try:
            while room.acquire() and not left:
                made.put(next(items))
        except StopIteration:
            made.put(None)
        except BaseException as error:
            made.put(_Failed(error))

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, _Failed):
                raise item.error
            room.release()
            yield item
    finally:  # also where the consumer leaves early
        left = True
        room.release()
        thread.join()
