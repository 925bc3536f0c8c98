"""Metrics as a table that a person reads."""

from collections.abc import Mapping

from rich.table import Table

from training.metrics import TaskMetrics

Metrics = dict[str, dict[str, TaskMetrics]]  # by split, then task


def metrics_table(metrics: Mapping[str, Mapping[str, TaskMetrics]]) -> Table:
    """One line a split and task."""
    table = Table("split", "task", box=None, padding=(0, 2, 0, 0))
    for column in ("AUC", "log loss", "calibration", "rows", "positives"):
        table.add_column(column, justify="right")
    for split, tasks in metrics.items():
        for task, of_task in tasks.items():
            shown = (shown_number(of_task[key]) for key in ("auc", "log_loss", "calibration"))
            table.add_row(split, task, *shown, f"{of_task['rows']:,}", f"{of_task['positives']:,}")
    return table


def shown_number(value: float | None) -> str:
    """Four digits, or a dash where undefined."""
    return "–" if value is None else f"{value:.4f}"
