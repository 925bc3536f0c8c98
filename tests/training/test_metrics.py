"""Metrics against scikit-learn, and where they are undefined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as reference_log_loss
from sklearn.metrics import roc_auc_score

from training.metrics import auc, log_loss, task_metrics

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40)


@given(ROWS.filter(lambda rows: len({label for _, label in rows}) == 2))
def test_auc_counts_ties_half(rows: list[tuple[int, bool]]) -> None:
    scores, labels = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_auc_of_many_rows() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=50_000).astype(np.float32), (random.random(50_000) < 0.03).astype(np.float32)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
def test_auc_of_one_class_is_undefined(labels: list[int]) -> None:
    assert auc(np.zeros(len(labels), np.float32), np.array(labels, np.float32)) is None


def test_log_loss() -> None:
    z, y = np.array([0.3, -2.0, 1.5]), np.array([1.0, 0.0, 0.0])
    assert log_loss(z, y) == pytest.approx(reference_log_loss(y, 1 / (1 + np.exp(-z))), abs=1e-12)
    assert log_loss(np.array([-200.0]), np.array([1.0])) == pytest.approx(200.0)
    assert log_loss(np.empty(0), np.empty(0)) is None


def test_only_counted_rows_count() -> None:
    logits = np.log(np.array([0.75, 0.25, 0.5, 0.9]) / np.array([0.25, 0.75, 0.5, 0.1])).astype(np.float32)
    metrics = task_metrics(logits, np.array([1, 0, 0, 1], np.float32), np.array([True, True, True, False]))
    assert (metrics["rows"], metrics["positives"], metrics["auc"]) == (3, 1, 1.0)
    assert metrics["calibration"] == pytest.approx(1.5, abs=1e-6)


def test_calibration_without_positives_is_undefined() -> None:
    assert task_metrics(np.zeros(2), np.zeros(2), np.ones(2, bool))["calibration"] is None
