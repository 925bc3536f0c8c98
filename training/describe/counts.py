"""Impressions by split, channel and id: every measure of a field is made of these sums, however many rows there are.

Channel 0 counts every impression; each task k has two: its counted rows (label known, in the task's space), and the
positive ones among them. The target of a continuous task is whether its label is above the median of training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema import Task

Ids = NDArray[np.int32]
Ints = NDArray[np.int64]
Weights = NDArray[Any]  # [channels, n]: bool of impressions, or how many impressions each stored row has


@dataclass(frozen=True)
class Target:
    """A task as a question of two answers: is the label above the threshold?"""

    task: Task
    threshold: float = 0.5

    def answers(self, labels: Mapping[str, NDArray[np.float32]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which rows count, and which are positive, [n] each; labels are NaN where unknown."""
        own = labels[self.task.name]
        counted = ~np.isnan(own)
        if self.task.space != "all":
            counted &= labels[self.task.space] == 1
        return counted, counted & (own > self.threshold)


def counted(task: int) -> int:
    """Channel of a task's counted rows."""
    return 1 + 2 * task


def positive(task: int) -> int:
    """Channel of a task's positive rows."""
    return 2 + 2 * task


def channels(targets: Sequence[Target], labels: Mapping[str, NDArray[np.float32]], rows: int) -> Weights:
    """Which impressions are in which channel, [channels, n]."""
    answers = [answer for target in targets for answer in target.answers(labels)]
    return np.stack([np.ones(rows, bool), *answers])


class Counts:
    """Sums [splits, channels, ids]; `most` is what no sum can exceed."""

    def __init__(self, splits: int, channels: int, size: int, most: int) -> None:
        self.sums: NDArray[Any] = np.zeros((splits, channels, size), np.uint32 if most < 2**32 else np.uint64)

    def add(self, split: int, ids: Ids, weights: Weights) -> None:
        """Count rows of ids [n, slots], each value once a row; a row without any value counts for id 0."""
        values, owners = _entries(ids)
        for sums, weight in zip(self.sums[split], weights, strict=True):
            _add(sums, values, weight if owners is None else weight[owners])

    def of(self, split: int, channel: int) -> Ints:
        """One channel, [ids]."""
        found: Ints = self.sums[split, channel].astype(np.int64)
        return found


def _entries(ids: Ids) -> tuple[Ids, Ints | None]:
    """Values and the rows that they are of; None where every row has one."""
    if ids.shape[1] == 1:
        return ids[:, 0], None
    ids = np.sort(ids, axis=1)
    first = ids > 0
    first[:, 1:] &= ids[:, 1:] != ids[:, :-1]
    owners, slots = np.nonzero(first)
    empty = np.flatnonzero(ids[:, -1] == 0)
    return np.concatenate([ids[owners, slots], np.zeros(len(empty), ids.dtype)]), np.concatenate([owners, empty])


def _add(sums: NDArray[Any], ids: Ids, weights: NDArray[Any]) -> None:
    if weights.dtype == bool:
        ids, weights = (ids if weights.all() else ids[weights]), np.ones(1, sums.dtype)
    if len(ids) < len(sums) // 8:  # few rows for so many ids: touch only theirs
        np.add.at(sums, ids, weights.astype(sums.dtype))
    elif len(weights) == 1 < len(ids):
        sums += np.bincount(ids, minlength=len(sums)).astype(sums.dtype) * weights
    else:
        sums += np.bincount(ids, weights.astype(np.float64), len(sums)).astype(sums.dtype)
