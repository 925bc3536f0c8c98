"""Predictions and metrics of a model on one split, and the score that chooses between weights.

Under torchrun every process scores its share of the rows, and all have all predictions: metrics are exact.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from training.batches import Rows, delivered
from training.distributed import gathered, in_step, share
from training.metrics import TaskMetrics, binary_metrics, composed, continuous_metrics
from training.models import Ranker
from training.models.heads import BinaryHead
from training.report import Metrics, shown_number

SCORED_AT_ONCE = 8192  # rows in a forward pass without gradients
Scores = NDArray[np.float32]


def assess(model: Ranker, validation: Rows, test: Rows) -> Metrics:
    """What a run reports: metrics of tasks and of chains of spaces, by split.

    Calibration was fitted on validation, so that split's `ece` and `calibration` flatter it: those of the test split
    count, to be held against `test, uncalibrated`, which holds what calibration changed.
    """
    outputs = predict(model, validation)
    found = {"validation": measured(model, outputs, validation) | chains(model, outputs, validation)}
    raw = predict(model, test)
    found["test"] = measured(model, raw, test) | chains(model, raw, test)
    if any(isinstance(head, BinaryHead) and head.calibration.method != "none" for head in model.each_head):
        before = measured(model, raw, test, False) | chains(model, raw, test, False)
        found["test, uncalibrated"] = {name: m for name, m in before.items() if m != found["test"][name]}
    return found


def evaluate(model: Ranker, split: Rows) -> dict[str, TaskMetrics]:
    """Metrics by task, of the values that would be served; log loss or RMSE is NaN where the model diverged."""
    return measured(model, predict(model, split), split)


def predict(model: Ranker, split: Rows) -> Tensor:
    """Raw outputs [n, sum of head widths]."""
    model.eval()
    start, stop = share(len(split))
    device = next(model.parameters()).device
    with torch.inference_mode():
        batches = delivered(split.in_order(SCORED_AT_ONCE, start, stop), split.device, device)
        spare = split.sample(1).to(device)
        own = [
            model.raw(*spare.inputs)[:0] if batch is None else model.raw(*batch.inputs) for batch in in_step(batches)
        ]
        return gathered(torch.cat(own or [model.raw(*spare.inputs)[:0]]), len(split))


def scores(model: Ranker, task: int, raw: Tensor, calibrated: bool = True) -> Scores:
    """Of one task [n]: log odds of a binary one, values of a continuous one."""
    head, part = model.each_head[task], model.parts(raw)[task]
    with torch.inference_mode():
        if not isinstance(head, BinaryHead):
            return head.value(part).cpu().numpy()
        logits = head.logit(part)
        return (head.calibration(logits) if calibrated else logits).cpu().numpy()


def measured(model: Ranker, raw: Tensor, split: Rows, calibrated: bool = True) -> dict[str, TaskMetrics]:
    """Metrics by task, each over its own counted rows."""
    labels, counted, users = _targets(split)
    found: dict[str, TaskMetrics] = {}
    for k, task in enumerate(model.schema_tasks):
        rows = counted[:, k]
        predicted, observed = scores(model, k, raw, calibrated)[rows], labels[rows, k]
        if task.kind == "continuous":
            found[task.name] = continuous_metrics(predicted, observed)
        else:
            found[task.name] = binary_metrics(predicted, observed, None if users is None else users[rows])
    return found


def chains(model: Ranker, raw: Tensor, split: Rows, calibrated: bool = True) -> dict[str, TaskMetrics]:
    """Metrics over all impressions of each task in a space, as `ctcvr`."""
    labels, counted, users = _targets(split)
    values = [scores(model, k, raw, calibrated).astype(np.float64) for k in range(len(model.tasks))]
    binary = [task.kind == "binary" for task in model.schema_tasks]
    served = np.stack([expit(v) if is_binary else v for v, is_binary in zip(values, binary, strict=True)], axis=1)
    return composed(model.schema_tasks, served, labels, counted, users)


def selection_score(metrics: Mapping[str, TaskMetrics]) -> float:
    """Higher is better: a mean over tasks of AUC, or (1 + Spearman) / 2 where continuous; NaN if the model diverged.

    Both are .5 for scores that say nothing and 1 for perfect order. A task weighs by how well its value is known, the
    inverse of the variance that it has for scores that say nothing, so that a handful of conversions does not choose
    the weights. Where no task has such a value: minus the mean log loss or RMSE.
    """
    errors = [error for m in metrics.values() if (error := _error(m)) is not None]
    known = [ranking for m in metrics.values() if (ranking := _ranking(m)) is not None]
    if not errors or not all(map(math.isfinite, errors)):
        return math.nan
    if not known:
        return -sum(errors) / len(errors)
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known)


def told(metrics: Mapping[str, TaskMetrics]) -> str:
    """One line: `ctr AUC 0.7170 (log loss 0.6429), watch RMSE 12.5000 (Spearman 0.4100)`."""
    return ", ".join(f"{name} {_told(of_task)}" for name, of_task in metrics.items())


def _told(m: TaskMetrics) -> str:
    if "auc" in m:
        return f"AUC {shown_number(m['auc'])} (log loss {shown_number(m['log_loss'])})"
    return f"RMSE {shown_number(m['rmse'])} (Spearman {shown_number(m['spearman'])})"


def _error(m: TaskMetrics) -> float | None:
    return m["log_loss"] if "auc" in m else m["rmse"]


def _ranking(m: TaskMetrics) -> tuple[float, float] | None:
    """How well a task is ranked in [0, 1], and 1 / variance of that for scores that say nothing."""
    if "auc" in m:  # Mann-Whitney: (n + 1) / (12 P N)
        positives, rows = m["positives"], m["rows"]
        return None if m["auc"] is None else (m["auc"], 12 * positives * (rows - positives) / (rows + 1))
    # Spearman: 1 / (n - 1)
    return None if m["spearman"] is None else ((1 + m["spearman"]) / 2, 4 * (m["rows"] - 1))


def _targets(split: Rows) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int32] | None]:
    """Labels and counted rows [n, tasks], and users [n]."""
    users = None if split.users is None else split.users.cpu().numpy()
    return split.labels.cpu().numpy(), split.counted.cpu().numpy() > 0, users
