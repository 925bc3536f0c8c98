"""Metrics of one task on one split. None where undefined: an AUC of one class is not 0.5."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]


class TaskMetrics(TypedDict):
    """`calibration` is predicted over observed: above 1 the model promises too much."""

    auc: float | None
    log_loss: float | None
    calibration: float | None
    rows: int
    positives: int


def task_metrics(logits: Floats, labels: Floats, counted: NDArray[np.bool_]) -> TaskMetrics:
    """Metrics over the counted rows of logits [n] and labels [n] in {0, 1}."""
    z, y = logits[counted].astype(np.float64), labels[counted].astype(np.float64)
    positives = int(y.sum())
    return {
        "auc": auc(z, y),
        "log_loss": log_loss(z, y),
        "calibration": float(_sigmoid(z).sum() / positives) if positives else None,
        "rows": len(y),
        "positives": positives,
    }


def auc(scores: Floats, labels: Floats) -> float | None:
    """Area under the ROC curve, ties counted half, exact: from the rank sum; None unless both classes are there."""
    positive = labels == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = counts.cumsum()  # rank of each group's last member, from 1
    doubled = 2 * last - counts + 1  # twice the mean rank: integers, so the sum is exact
    rank_sum = int(doubled[group[positive]].sum())
    return (rank_sum - positives * (positives + 1)) / (2 * positives * negatives)


def log_loss(logits: Floats, labels: Floats) -> float | None:
    """Mean cross entropy, from logits, so that a sure prediction never gives infinity; None without rows."""
    if not len(labels):
        return None
    if not np.isfinite(logits).all():
        return float("nan")
    z = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, z) - labels * z))


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * z))
    return result
