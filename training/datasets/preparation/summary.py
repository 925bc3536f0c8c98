"""What a prepared data set holds, in a few lines; of an extended one, what is new in it."""

import polars as pl
from rich.console import Console

from contract.schema import Task
from training.datasets.prepared import SPLITS, Prepared, SplitName


def print_summary(prepared: Prepared, earlier: Prepared | None = None) -> None:
    """Rows and label rates a split, users and items, what was left out, and how far each field grew."""
    console, description = Console(soft_wrap=True), prepared.description
    for split in SPLITS:
        rates = ", ".join(f"{task.name} {_rate(prepared, split, task)}" for task in prepared.schema.tasks)
        console.print(f"{split:<11}{description.rows[split]:>12,} rows   {rates}", highlight=False)
    for note, count in description.notes.items():
        console.print(f"{note}: {count:,}", highlight=False)
    if description.rejected:
        console.print(
            f"{description.rejected:,} bad rows left out: {prepared.path / 'rejected.jsonl'}", highlight=False
        )
    if earlier is not None:
        _print_growth(console, prepared, earlier)
    console.print(f"{description.users:,} users, {description.items:,} items → {prepared.path}", highlight=False)


def _print_growth(console: Console, prepared: Prepared, earlier: Prepared) -> None:
    for field in prepared.schema.fields:
        if field.needs_dictionary:
            known = earlier.schema.by_name[field.name].size
            console.print(f"{field.name}: {field.size - known:,} new values, {known - 1:,} before", highlight=False)
    users, items = (prepared.description.users, prepared.description.items)
    told = f"{users - earlier.description.users:,} new users, {items - earlier.description.items:,} new items"
    console.print(told, highlight=False)


def _rate(prepared: Prepared, split: SplitName, task: Task) -> str:
    """Mean label in the task's own space."""
    label = pl.col(f"label:{task.name}")
    rows = prepared.interactions(split)
    if task.space != "all":
        rows = rows.filter(pl.col(f"label:{task.space}") == 1)
    found = rows.select(mean=label.fill_nan(None).mean(), rows=pl.len()).collect(engine="streaming")
    mean = float("nan") if found["mean"][0] is None else found["mean"][0]
    shown = f"{mean:.4%}" if task.kind == "binary" else f"mean {mean:.4g}"
    return shown if task.space == "all" else f"{shown} of {found['rows'][0]:,} with {task.space}"
