"""Metrics as tables that a person reads."""

from collections.abc import Mapping, Sequence
from typing import cast

from rich.console import Console, Group
from rich.table import Table

from contract.schema import Task
from training.metrics import TaskMetrics

Metrics = dict[str, dict[str, TaskMetrics]]  # by split, then task

BINARY = {"auc": "AUC", "gauc": "GAUC (of rows)", "log_loss": "log loss", "ece": "ECE", "calibration": "calibration"}
CONTINUOUS = {"rmse": "RMSE", "mae": "MAE", "spearman": "Spearman", "gini": "Gini", "calibration": "calibration"}
COUNTS = ("rows", "positives")
WIDTH = 120  # columns that the widest table needs


def metrics_table(metrics: Mapping[str, Mapping[str, TaskMetrics]], tasks: Sequence[Task] = ()) -> Group:
    """One line a split and task: binary tasks in one table, continuous ones in another below it.

    With the schema's tasks, a column says over which rows each line is: composed metrics are over all impressions.
    """
    spaces = {task.name: task.space for task in tasks}
    lines = [(split, task, of_task) for split, named in metrics.items() for task, of_task in named.items()]
    binary = [line for line in lines if "auc" in line[2]]
    continuous = [line for line in lines if "auc" not in line[2]]
    kinds = ((binary, BINARY), (continuous, CONTINUOUS))
    return Group(*(_table(of_kind, columns, spaces) for of_kind, columns in kinds if of_kind))


def print_metrics(
    console: Console, metrics: Mapping[str, Mapping[str, TaskMetrics]], tasks: Sequence[Task] = ()
) -> None:
    """Print the tables whole: where the terminal is narrower, it wraps lines rather than cut cells."""
    Console(file=console.file, width=max(console.width, WIDTH)).print(metrics_table(metrics, tasks))


def _table(
    lines: Sequence[tuple[str, str, TaskMetrics]], columns: Mapping[str, str], spaces: Mapping[str, str]
) -> Table:
    """Columns that no line has are left out: GAUC without users, positives of continuous tasks."""
    shown = [key for key in columns if key != "gauc" or any(of_task.get(key) is not None for _, _, of_task in lines)]
    counts = [key for key in COUNTS if key in lines[0][2]]
    table = Table("split", "task", *(["over"] if spaces else []), box=None, padding=(0, 2, 0, 0))
    for title in [*(columns[key] for key in shown), *counts]:
        table.add_column(title, justify="right")
    for split, task, of_task in lines:
        values = cast(Mapping[str, float | None], of_task)
        over = [_over(spaces.get(task, "all"))] if spaces else []
        cells = [*(_cell(values, key) for key in shown), *(f"{values[key]:,}" for key in counts)]
        table.add_row(split, task, *over, *cells)
    return table


def _cell(values: Mapping[str, float | None], key: str) -> str:
    """A number; with GAUC the share of the rows that it covers."""
    share = values.get("gauc_share") if key == "gauc" else None
    return shown_number(values.get(key)) + ("" if share is None else f" ({share:.0%})")


def _over(space: str) -> str:
    return "impressions" if space == "all" else f"{space} = 1"


def shown_number(value: float | None) -> str:
    """Four digits, or a dash where undefined."""
    return "–" if value is None else f"{value:.4f}"
