"""What a smaller type costs: metrics of the exported graphs on labelled rows, fp32 against the variant.

Everything is scored through ONNX Runtime. A bundle whose order or calibration suffers more than the bounds is refused.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.special import logit

from contract.errors import BundleError
from contract.schema import Schema
from export.parity import SplitSession
from export.precision import split_rows
from training.batches import Batch
from training.metrics import TaskMetrics, binary_metrics, continuous_metrics

MAX_CALIBRATION_SHIFT = 0.01  # of predicted over observed, relative
AT_ONCE = 1024  # rows of a run
SHOWN = {"auc": "AUC", "spearman": "Spearman", "log_loss": "log loss", "rmse": "RMSE", "calibration": "calibration"}
SHOWN |= {"ece": "ECE"}

TINY = 1e-9  # a probability of 0 or 1 has no log odds

Scores = dict[str, NDArray[np.float32]]  # by task
Metrics = dict[str, dict[str, float | None]]  # by task, then metric


def assessed(exact: SplitSession, variant: SplitSession, rows: Batch, schema: Schema) -> tuple[Metrics, Metrics]:
    """Metrics of two graphs of candidates that read the same columns, which `exact` computes."""
    scores: tuple[list[Scores], list[Scores]] = ([], [])
    for part in rows.in_order(AT_ONCE):
        fed = exact.columns(split_rows(part, schema))
        for session, found in zip((exact, variant), scores, strict=True):
            found.append(session.candidate_scores(fed))
    first, second = (_metrics(found, rows, schema) for found in scores)
    return first, second


def losses(exact: Metrics, variant: Metrics) -> Metrics:
    """Variant minus exact, by task and metric; None where either is undefined."""
    return {
        task: {name: _minus(variant[task][name], value) for name, value in of_task.items()}
        for task, of_task in exact.items()
    }


def check(exact: Metrics, variant: Metrics, precision: str, max_auc_loss: float) -> None:
    """BundleError where a task's AUC (Spearman, if continuous) or its calibration suffers more than the bounds."""
    for task, of_task in losses(exact, variant).items():
        for name in ("auc", "spearman"):
            lost = of_task.get(name)
            if lost is not None and not -lost <= max_auc_loss:
                raise BundleError(
                    f"{precision}: task '{task}' loses {-lost:.5f} of {SHOWN[name]} {exact[task][name]:.4f}, more than "
                    f"--max-auc-loss {max_auc_loss:g}; no bundle was written, serve fp32"
                )
        was, now = exact[task]["calibration"], variant[task]["calibration"]
        if was and not abs((now or 0.0) / was - 1) <= MAX_CALIBRATION_SHIFT:
            raise BundleError(
                f"{precision}: calibration of task '{task}' moves from {was:.4f} to {now:.4f} predicted over observed, "
                f"more than {MAX_CALIBRATION_SHIFT:.0%}; no bundle was written, serve fp32"
            )


def loss_table(exact: Metrics, variant: Metrics, precision: str, title: str) -> Table:
    """One line a task and metric: both values, and their difference."""
    table = Table("task", "metric", title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("fp32", precision, "difference"):
        table.add_column(column, justify="right")
    for task, of_task in losses(exact, variant).items():
        for name, lost in of_task.items():
            if lost is not None:
                both = (f"{of[task][name]:.5f}" for of in (exact, variant))
                table.add_row(task, SHOWN[name], *both, f"{lost:+.5f}")
    return table


def _metrics(scores: list[Scores], rows: Batch, schema: Schema) -> Metrics:
    """Of each task, over the rows that count for it."""
    found: Metrics = {}
    for place, task in enumerate(schema.tasks):
        counted = rows.counted[:, place].numpy() > 0
        predicted = np.concatenate([part[task.name] for part in scores])[counted].astype(np.float64)
        observed = rows.labels[:, place].numpy()[counted]
        if task.kind == "continuous":
            of_task: TaskMetrics = continuous_metrics(predicted, observed)
        else:
            of_task = binary_metrics(logit(np.clip(predicted, TINY, 1 - TINY)), observed)
        values = cast(Mapping[str, float | None], of_task)
        found[task.name] = {name: values[name] for name in SHOWN if name in values}
    return found


def _minus(variant: float | None, exact: float | None) -> float | None:
    return None if variant is None or exact is None else variant - exact
