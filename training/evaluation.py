"""Predictions and metrics of a model on one split, and the score that chooses between weights."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.batches import Batch
from training.metrics import TaskMetrics, task_metrics
from training.models import Ranker
from training.models.heads import BinaryHead

SCORED_AT_ONCE = 8192  # rows in a forward pass without gradients


def evaluate(model: Ranker, split: Batch) -> dict[str, TaskMetrics]:
    """Metrics by task, of the values that would be served; log loss is NaN where the model diverged."""
    raw, labels, counted = predict(model, split), split.labels.cpu().numpy(), split.counted.cpu().numpy() > 0
    return {
        task: task_metrics(scores(model, k, raw), labels[:, k], counted[:, k]) for k, task in enumerate(model.tasks)
    }


def predict(model: Ranker, split: Batch) -> Tensor:
    """Raw outputs [n, sum of head widths]."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model.raw(*batch.inputs) for batch in split.in_order(SCORED_AT_ONCE)])


def scores(model: Ranker, task: int, raw: Tensor, calibrated: bool = True) -> NDArray[np.float32]:
    """Of one task [n]: log odds of a binary one, values of a continuous one."""
    head, part = model.each_head[task], model.parts(raw)[task]
    with torch.inference_mode():
        if not isinstance(head, BinaryHead):
            return head.value(part).cpu().numpy()
        logits = head.logit(part)
        return (head.calibration(logits) if calibrated else logits).cpu().numpy()


def selection_score(metrics: Mapping[str, TaskMetrics]) -> float:
    """Higher is better: mean AUC over the tasks that have one; minus the mean log loss if none has; NaN if diverged.

    A task weighs by how well its AUC is known, the inverse of the variance of a Mann-Whitney AUC, so that a handful of
    conversions does not choose the weights.
    """
    losses = [m["log_loss"] for m in metrics.values() if m["log_loss"] is not None]
    aucs = [(m["auc"], _precision(m["positives"], m["rows"])) for m in metrics.values() if m["auc"] is not None]
    if not losses or not all(map(math.isfinite, losses)):
        return math.nan
    if not aucs:
        return -sum(losses) / len(losses)
    return sum(auc * weight for auc, weight in aucs) / sum(weight for _, weight in aucs)


def _precision(positives: int, rows: int) -> float:
    """1 / variance of an AUC of scores that say nothing: 12 P N / (P + N + 1)."""
    return 12 * positives * (rows - positives) / (rows + 1)
