"""The findings in a terminal: what to act on comes first."""

from operator import itemgetter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.datasets.prepared import SPLITS
from training.describe.days import totals
from training.describe.figures import count, digits, number, share
from training.describe.findings import FieldFound, FieldSplit, Findings, TaskFound

WIDTH = 240  # columns that a table may take: a narrower terminal wraps lines rather than cut cells


def print_findings(console: Console, found: Findings) -> None:
    """Alarms in red, warnings, labels, oracle, fields, rows that repeat."""
    wide = Console(file=console.file, width=max(console.width, WIDTH), highlight=False, soft_wrap=True)
    for remark in found.alarms:
        wide.print(f"[bold red]LEAK[/]     [red]{escape(remark.text)}[/]")
    if not found.alarms:
        wide.print("[green]no leak:[/] no field alone tells a label (AUC above 0.95), and none equals one")
    for remark in found.warnings:
        wide.print(f"[yellow]warning[/]  {escape(remark.text)}")
    wide.print(f"\n{escape(found.source)}: {count(found.users)} users, {count(found.items)} items")
    if found.rejected:
        wide.print(f"bad rows that prepare skipped: {count(found.rejected)}")
    for note, rows in found.notes.items():
        wide.print(escape(f"{note}: {count(rows)}"))
    wide.print(_labels(found))
    for task in found.tasks:
        if line := _days(task):
            wide.print(line)
    if found.oracle:
        wide.print("\nThe stored truth itself: what the best model can reach", style="bold")
        wide.print(_oracle(found))
    wide.print("\nFields, over impressions", style="bold")
    wide.print(_fields(found))
    wide.print(
        "missing: no value in training, or a number's default. "
        "new: values that training never met, or too rarely for an id (≈ estimate, ≥ at least).\n"
        "PSI: drift from training; ! above .1, !! above .25, beyond chance.\n"
        "AUC: of the field alone, fitted on training, measured on held-out rows.",
        style="dim",
    )
    repeated = ", ".join(f"{split} {count(found.duplicates.repeated[split])}" for split in SPLITS)
    trained = ", ".join(f"{split} {count(found.duplicates.trained[split])}" for split in SPLITS[1:])
    wide.print(f"\nRows equal to an earlier one, by hash, the time left out: {repeated}")
    wide.print(f"Rows that training has too: {trained}")


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in columns:
        table.add_column(title.removeprefix(">"), justify="right" if title.startswith(">") else "left")
    return table


def _labels(found: Findings) -> Table:
    table = _table("split", "task", "over", ">rows", ">positive", ">rate", ">95 % interval", ">to training", ">unknown")
    for split in SPLITS:
        for task in found.tasks:
            own = task.splits[split]
            rate = f"mean {number(own.mean)}" if task.kind == "continuous" else share(own.answers.rate)
            between = f"{share(own.answers.low)} – {share(own.answers.high)}" if task.kind == "binary" else "–"
            table.add_row(
                split,
                escape(task.name),
                "impressions" if task.space == "all" else f"{escape(task.space)} = 1",
                count(own.answers.rows),
                count(own.answers.positives),
                rate,
                between,
                "" if own.lift is None else f"× {number(own.lift)}",
                count(own.unknown),
            )
    return table


def _days(task: TaskFound) -> str:
    """The curve over time in one line: first, last, lowest and highest day."""
    shown = number if task.kind == "continuous" else share
    if len(told := totals(task)) < 2:
        return ""
    ends = min(told, key=itemgetter(1)), max(told, key=itemgetter(1))
    first, last, low, high = (f"{shown(value)} ({day})" for day, value in (told[0], told[-1], *ends))
    return escape(f"{task.name} by day: first {first}, last {last}, lowest {low}, highest {high}")


def _oracle(found: Findings) -> Table:
    continuous = any(each.rmse is not None for each in found.oracle)
    errors = [">RMSE"] if continuous else []
    table = _table("split", "task", ">rows", ">AUC", ">log loss", *errors, ">predicted / observed")
    for each in found.oracle:
        numbers = [each.auc, each.log_loss, *([each.rmse] if continuous else []), each.calibration]
        table.add_row(each.split, escape(each.task), count(each.rows), *map(digits, numbers))
    return table


def _fields(found: Findings) -> Table:
    aucs = [f">AUC {task.name}" for task in found.tasks]
    table = _table(
        *("field", "side", "kind", ">ids", ">met", ">coverage", ">missing"),
        *(">new val", ">new test", ">PSI val", ">PSI test", *aucs),
    )
    for field in found.fields:
        train, held = field.splits["train"], [field.splits[split] for split in SPLITS[1:]]
        table.add_row(
            escape(field.name),
            field.side,
            field.kind,
            count(field.size) if field.size else "–",
            count(train.distinct) if field.size else "–",
            share(train.coverage),
            share(train.missing),
            *(new_share(field, split) for split in held),
            *(_psi(split) for split in held),
            *(f"[bold red]{digits(leak.auc)}[/]" if leak.alarm else digits(leak.auc) for leak in field.leaks),
        )
    return table


def new_share(field: FieldFound, split: FieldSplit) -> str:
    """Share of new values, and how it is known."""
    sign = {"estimate": "≈ ", "at least": "≥ ", "exact": ""}[field.new_is]
    return "–" if split.new is None else f"{sign if split.new or sign == '≥ ' else ''}{share(split.new)}"


def _psi(split: FieldSplit) -> str:
    if split.drift is None:
        return "–"
    mark = {"steady": "", "moved": " !", "drifted": " !!"}[split.drift.word]
    return f"{split.drift.psi:.3f}{mark}"
