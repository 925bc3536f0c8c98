"""What a prepared data set holds, and what is wrong with it: text, a page beside it, JSON for programs.

Label rates, in all and by day, coverage and frequent values of each field, values that are missing and those that
training never met, drift between the splits, rows that repeat, and the alarm: a single field that tells a label,
because it was written after it. Memory does not grow with the rows.

A field that tells a label less surely rings no alarm, though it may be a leak all the same: read the AUC of each.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import Progress

from contract.errors import DataError
from contract.files import write_text
from contract.schema import Task
from training.datasets.prepared import SPLITS, Prepared
from training.describe.counts import Target
from training.describe.days import days_found
from training.describe.fields import describe_field
from training.describe.findings import Duplicates, Findings, TaskFound
from training.describe.impressions import Impressions, sample
from training.describe.labels import held_out, oracle_found, tasks_found
from training.describe.page import page
from training.describe.remarks import remarks
from training.describe.survey import survey
from training.describe.text import print_findings

PAGE = "describe.html"
TOP = 10


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `describe` command."""
    parser = subparsers.add_parser(
        "describe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what `prepare` wrote")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the page (default: {PAGE} in the data set's folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers here")
    parser.add_argument("--top", type=_positive, default=TOP, metavar="N", help="frequent values shown (default: 10)")
    parser.add_argument("--fail-on-leak", action="store_true", help="exit status 1 where an alarm rings")
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    data, console, aside = Prepared.open(args.data), Console(), Console(stderr=True)
    out = args.out or args.data / PAGE
    for path in (out, args.json):  # before minutes of reading
        if path is not None and path.is_dir():
            raise DataError(f"{path}: is a folder; name a file")
    try:
        with Progress(console=aside, transient=True, disable=not aside.is_terminal) as progress:
            bar = progress.add_task("describe", total=_work(data))
            found = describe(data, args.top, lambda rows: progress.update(bar, advance=rows))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{data.path}: cannot be read: {str(error).splitlines()[0]}; prepare it again") from None
    written = {out: page(found)} | ({} if args.json is None else {args.json: found.model_dump_json(indent=1) + "\n"})
    for path, text in written.items():  # before the text, whose reader may leave early
        _write(path, text)
    print_findings(console, found)
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, highlight=False, markup=False)
    return 1 if args.fail_on_leak and found.alarms else 0


def describe(data: Prepared, top: int = TOP, watch: Callable[[int], None] = lambda rows: None) -> Findings:
    """Read a data set and say what it holds; `watch` is told of rows as they are read."""
    description, schema = data.description, data.schema
    if not description.rows["train"]:
        raise DataError(f"{data.path}: training has no rows")
    targets = tuple(Target(task, _threshold(data, task)) for task in schema.tasks)
    impressions = Impressions(data, targets, watch)
    found = survey(impressions)
    held = [held_out(found, k) for k in range(len(targets))]
    fields = tuple(describe_field(impressions, found, field, held, top) for field in schema.fields)
    (within, trained), tasks = found.repeated, tuple(_by_day(data, task) for task in tasks_found(targets, found))
    duplicates = Duplicates(
        repeated=dict(zip(SPLITS, within, strict=True)), trained=dict(zip(SPLITS, trained, strict=True))
    )
    return Findings(
        source=description.source,
        path=str(data.path),
        rows=description.rows,
        users=description.users,
        items=description.items,
        rejected=description.rejected,
        notes=description.notes,
        fingerprint=schema.fingerprint(),
        tasks=tasks,
        oracle=oracle_found(targets, found),
        fields=fields,
        duplicates=duplicates,
        remarks=remarks(tasks, fields, duplicates, description.rows),
    )


def _by_day(data: Prepared, found: TaskFound) -> TaskFound:
    (task,) = (task for task in data.schema.tasks if task.name == found.name)
    return found.model_copy(update={"days": days_found(data, task, found.splits)})


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def _threshold(data: Prepared, task: Task) -> float:
    """What a positive answer is above: the median of training for a continuous task."""
    if task.kind == "binary":
        return 0.5
    labels = sample(data, f"label:{task.name}")
    return float(np.median(labels)) if len(labels) else 0.0


def _work(data: Prepared) -> int:
    """Rows that will be read."""
    known, sizes = data.interactions("train").collect_schema(), data.description
    stored = {"user": sizes.users, "item": sizes.items}
    rows = sum(sizes.rows.values())
    return rows + sum(rows if field.name in known else stored.get(field.side, 0) for field in data.schema.fields)


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
