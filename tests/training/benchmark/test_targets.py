"""Targets of a test split, held against the metrics that training reports."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from contract.schema import Schema, Task
from tests.training import tiny
from training.batches import Batch
from training.benchmark.targets import Target, targets
from training.datasets.prepared import Matrices
from training.metrics import composed

REVENUE = Task(name="revenue", label="r", kind="continuous", space="cvr")


def split(schema: Schema, rows: int = 500, truth: bool = False) -> tuple[Matrices, Batch]:
    """Random labels; those of a task in a space are known inside it alone."""
    random = np.random.default_rng(0)
    request_ids, request_dense, item_ids, item_dense, _ = (tensor.numpy() for tensor in tiny.inputs(schema, rows, rows))
    labels = {task.name: (random.random(rows) < 0.5).astype(np.float32) for task in schema.tasks}
    for task in schema.tasks:
        if task.space != "all":
            labels[task.name][labels[task.space] != 1] = np.nan
    known = {task.name: random.random(rows).astype(np.float32) for task in schema.tasks} if truth else {}
    matrices = Matrices(request_ids, request_dense, item_ids, item_dense, labels, known)
    return matrices, Batch.of(matrices, schema, torch.device("cpu"))


def by_name(schema: Schema, matrices: Matrices, batch: Batch) -> dict[str, Target]:
    return {target.name: target for target in targets(schema, matrices, batch)}


def test_tasks_come_first_and_chains_over_all_impressions_after_them() -> None:
    schema = tiny.schema(tasks=(tiny.CLICK, tiny.BUY, REVENUE))
    found = by_name(schema, *split(schema))
    assert list(found) == ["ctr", "cvr", "revenue", "ctcvr", "ctr*cvr*revenue"]
    assert [target.over for target in found.values()] == [
        "impressions", "ctr = 1", "cvr = 1", "impressions", "impressions",
    ]  # fmt: skip
    assert found["ctcvr"].rows.all()


def test_chains_are_measured_as_training_measures_them() -> None:
    schema = tiny.schema(tasks=(tiny.CLICK, tiny.BUY, REVENUE))
    matrices, batch = split(schema)
    scores = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    served = np.concatenate([expit(scores[:, :2]), scores[:, 2:]], axis=1)
    labels = np.stack([matrices.labels[task.name] for task in schema.tasks], axis=1)
    expected = composed(schema.tasks, served, labels, ~np.isnan(labels))
    found = by_name(schema, matrices, batch)
    assert expected
    for name, metrics in expected.items():
        measured = found[name].metrics(scores)
        for key, value in metrics.items():
            assert measured.get(key) == (None if value is None else pytest.approx(value, rel=1e-6)), (name, key)


def test_the_truth_reaches_the_whole_lift_and_its_negation_the_opposite() -> None:
    schema = tiny.schema()
    matrices, batch = split(schema, truth=True)
    scores = logit(np.stack([matrices.truth[name] for name in ("ctr", "cvr")], axis=1).astype(np.float64))
    found = by_name(schema, matrices, batch)
    assert [target.share(scores) for target in found.values()] == pytest.approx([1, 1, 1])
    assert found["cvr"].share(-scores) == pytest.approx(-1)
    weights = found["cvr"].weights
    assert weights is not None
    assert np.abs(weights - matrices.truth["ctr"]).max() < 1e-6


def test_without_the_truth_there_is_no_lift() -> None:
    schema = tiny.schema()
    matrices, batch = split(schema)
    assert all(target.share(np.zeros((500, 2))) is None for target in targets(schema, matrices, batch))
