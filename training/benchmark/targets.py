"""What the test split can be asked: each task over its own rows, and each task in a space over all impressions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from contract.schema import Schema, Task
from training.batches import Batch
from training.datasets.prepared import Matrices
from training.metrics import TaskMetrics, binary_metrics, continuous_metrics, lift_share, soft_auc

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """One quantity over n test rows. `chain`: the tasks whose predictions are multiplied; `rows` [n]: which count.

    `truth` [n] is its true probability and `weights` [n] how likely each row is to count, where the source knows them.
    """

    name: str
    kind: str
    over: str
    chain: tuple[int, ...]
    rows: NDArray[np.bool_]
    labels: Floats  # [rows that count]
    users: NDArray[np.int32] | None  # [rows that count]
    truth: Floats | None = None
    weights: Floats | None = None

    @property
    def binary(self) -> bool:
        """Judged by AUC, else by RMSE."""
        return self.kind == "binary"

    def outputs(self, scores: Floats) -> Floats:
        """Log odds, or values, of all rows [n] from those of the tasks [n, tasks]."""
        if len(self.chain) == 1:
            column: Floats = scores[:, self.chain[0]]
            return column
        *spaces, last = self.chain
        given: NDArray[np.float64] = expit(scores[:, spaces].astype(np.float64)).prod(axis=1)
        if not self.binary:
            return given * scores[:, last]
        joint = (given * expit(scores[:, last].astype(np.float64))).clip(np.finfo(np.float64).tiny, 1 - 1e-16)
        return np.asarray(logit(joint), np.float64)

    def counted(self, scores: Floats) -> Floats:
        """Outputs of the rows that count."""
        return self.outputs(scores)[self.rows]

    def metrics(self, scores: Floats) -> TaskMetrics:
        """Metrics on the test rows."""
        outputs = self.counted(scores)
        return (
            binary_metrics(outputs, self.labels, self.users)
            if self.binary
            else continuous_metrics(outputs, self.labels)
        )

    def share(self, scores: Floats) -> float | None:
        """Share of the oracle's lift, by soft AUC; None where the truth is not known."""
        if self.truth is None:
            return None
        found, oracle = (soft_auc(values, self.truth, self.weights) for values in (self.outputs(scores), self.truth))
        return None if found is None or oracle is None else lift_share(found, oracle)

    def oracle(self) -> float | None:
        """Soft AUC of the truth itself."""
        return None if self.truth is None else soft_auc(self.truth, self.truth, self.weights)


def targets(schema: Schema, split: Matrices, batch: Batch) -> list[Target]:
    """All targets of a split: its tasks, then the composed ones."""
    labels, counted = batch.labels.cpu().numpy(), batch.counted.cpu().numpy() > 0
    found = []
    for k, task in enumerate(schema.tasks):
        over = "impressions" if task.space == "all" else f"{task.space} = 1"
        found.append(_target(schema, split, task.name, over, (k,), counted[:, k], labels[:, k]))
    for k, task in enumerate(schema.tasks):
        chain = _chain(schema.tasks, k)
        name = _composed_name([schema.tasks[link].name for link in chain])
        if task.space != "all" and all(name != other.name for other in schema.tasks):
            none = (counted[:, chain] & (labels[:, chain] == 0)).any(axis=1)  # whatever the others say
            rows = none | counted[:, chain].all(axis=1)
            joint = np.where(none, 0, labels[:, chain].prod(axis=1))
            found.append(_target(schema, split, name, "impressions", chain, rows, joint))
    return found


def _target(
    schema: Schema,
    split: Matrices,
    name: str,
    over: str,
    chain: tuple[int, ...],
    rows: NDArray[np.bool_],
    labels: Floats,
) -> Target:
    task = schema.tasks[chain[-1]]
    users = None if split.users is None else split.users[rows]
    truth, weights = _truth(schema.tasks, split, chain), None
    if truth is not None and task.space != "all" and len(chain) == 1:
        weights = _truth(schema.tasks, split, _chain(schema.tasks, chain[0])[:-1])
    return Target(name, task.kind, over, chain, rows, labels[rows], users, truth, weights)


def _truth(tasks: Sequence[Task], split: Matrices, chain: tuple[int, ...]) -> Floats | None:
    """Product of the true probabilities along a chain of binary tasks."""
    names = [tasks[k].name for k in chain]
    if any(tasks[k].kind != "binary" or tasks[k].name not in split.truth for k in chain):
        return None
    product: Floats = np.prod([split.truth[name].astype(np.float64) for name in names], axis=0)
    return product


def _chain(tasks: Sequence[Task], task: int) -> tuple[int, ...]:
    """The task after the spaces that it lies in."""
    place = {other.name: k for k, other in enumerate(tasks)}
    chain = [task]
    while (space := tasks[chain[0]].space) != "all":
        chain.insert(0, place[space])
    return tuple(chain)


def _composed_name(names: list[str]) -> str:
    """As `training.metrics.composed` names them."""
    return "ctcvr" if names == ["ctr", "cvr"] else "*".join(names)
