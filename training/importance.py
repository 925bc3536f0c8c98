"""Which fields matter to which task: permutation importance of a trained model (Breiman 2001; Fisher et al. 2019).

One field at a time is shuffled over the rows, all slots of a multi-valued field together, and each task is predicted
again: its importance is how far AUC falls, or RMSE rises. Fields that say the same share what they know, so a field
that another replaces looks unimportant. Rows of a task are those of its own space.
"""

import argparse
import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from torch import Tensor

from contract.errors import ConfigError, DataError
from contract.files import whole_file, write_text
from contract.schema import Schema, dense_columns, slot_columns
from training.batches import Batch
from training.benchmark.document import Block, Document, Figure, Grid, Heading, Text, number
from training.benchmark.heat import heat_map
from training.benchmark.options import positive
from training.checkpoint import load_checkpoint
from training.datasets.prepared import SPLITS, Prepared, SplitName
from training.device import choose_device
from training.evaluation import predict, scores
from training.metrics import auc, spearman
from training.models import Ranker

ROWS = 50_000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """Falls of the metric [fields, tasks, repeats] when a field is shuffled, and the metric of whole rows [tasks]."""

    fields: tuple[str, ...]
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]  # by task: AUC or RMSE
    whole: Floats
    falls: Floats
    rows: int

    @property
    def mean(self) -> Floats:
        """[fields, tasks]."""
        mean: Floats = self.falls.mean(axis=2)
        return mean

    @property
    def spread(self) -> Floats:
        """[fields, tasks]: standard deviation over the shuffles, 0 for one."""
        spread: Floats = self.falls.std(axis=2, ddof=min(1, self.falls.shape[2] - 1))
        return spread

    @property
    def share(self) -> Floats:
        """[fields, tasks]: of the task's sum, falls below 0 counted as 0."""
        positive_part = self.mean.clip(min=0)
        total = positive_part.sum(axis=0)
        share: Floats = np.divide(positive_part, total, out=np.zeros_like(positive_part), where=total > 0)
        return share

    @property
    def order(self) -> list[int]:
        """Fields by their mean share over the tasks, the most important first."""
        return [int(k) for k in np.argsort(-self.share.mean(axis=1), kind="stable")]

    def correlation(self, one: int, other: int) -> float | None:
        """Spearman's of two tasks' importances over the fields."""
        return spearman(self.mean[:, one], self.mean[:, other])


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `importance` command."""
    parser = subparsers.add_parser(
        "importance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="what `train` wrote")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data set that it was trained on")
    parser.add_argument("--split", choices=SPLITS, default="validation", help="default: validation")
    parser.add_argument("--repeats", type=positive, default=5, metavar="N", help="shuffles of a field (default: 5)")
    parser.add_argument("--rows", type=positive, default=ROWS, metavar="N", help="sampled at most (default: 50,000)")
    parser.add_argument("--seed", type=int, default=0, help="of sample and shuffles (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write importance.csv, .svg, .html and .md there")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if there")
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    run, data, console = load_checkpoint(args.run), Prepared.open(args.data), Console()
    if data.schema.fingerprint() != run.schema.fingerprint():
        raise ConfigError(
            f"{args.data}: its fields or dictionaries are not those that {args.run} was trained on "
            f"({run.config.data}); give that data set"
        )
    device = choose_device(args.device)
    found = importance(run.model.to(device), data, args.split, args.repeats, args.rows, args.seed, console)
    console.print(_table(found))
    for line in _told(found):
        console.print(escape(line), highlight=False)
    if args.out is not None:
        title = f"Feature importance: {run.config.model} on {data.description.source}"
        _write(args.out, found, title, args.split)
        console.print(f"wrote {args.out / 'importance.html'}", soft_wrap=True)
    return 0


def importance(
    model: Ranker, data: Prepared, split: SplitName, repeats: int, rows: int, seed: int, console: Console
) -> Importance:
    """Shuffle each field `repeats` times on at most `rows` rows of a split."""
    generator, device = torch.Generator().manual_seed(seed), next(model.parameters()).device
    batch = Batch.of(data.matrices(split), data.schema, device)
    if len(batch) > rows:
        batch = batch.rows(torch.randperm(len(batch), generator=generator)[:rows].sort().values.to(device))
    if not len(batch):
        raise DataError(f"{data.path}: the {split} split has no rows; choose another --split")
    whole, fields = _metrics(model, batch), tuple(field.name for field in data.schema.fields)
    falls = np.empty((len(fields), len(model.tasks), repeats))
    signs = np.array([1 if task.kind == "binary" else -1 for task in model.schema_tasks])
    every = [(k, r) for k in range(len(fields)) for r in range(repeats)]
    for k, repeat in track(every, "shuffle fields", console=console, transient=True, disable=not console.is_terminal):
        order = torch.randperm(len(batch), generator=generator).to(device)
        falls[k, :, repeat] = signs * (whole - _metrics(model, shuffled(batch, data.schema, fields[k], order)))
    metrics = tuple("AUC" if task.kind == "binary" else "RMSE" for task in model.schema_tasks)
    return Importance(fields, model.tasks, metrics, whole, falls, len(batch))


def shuffled(batch: Batch, schema: Schema, field: str, order: Tensor) -> Batch:
    """The batch with one field's columns in this order of rows."""
    for side, ids, dense in (
        (schema.request_fields, "request_ids", "request_dense"),
        (schema.item_fields, "item_ids", "item_dense"),
    ):
        slots, numbers = slot_columns(side), dense_columns(side)
        changed = {}
        if field in slots:
            changed[ids] = _reordered(getattr(batch, ids), slots[field], order)
        if field in numbers:
            changed[dense] = _reordered(getattr(batch, dense), numbers[field], order)
        if changed:
            return replace(batch, **changed)
    raise KeyError(field)


def _reordered(matrix: Tensor, columns: slice, order: Tensor) -> Tensor:
    changed = matrix.clone()
    changed[:, columns] = matrix[order][:, columns]
    return changed


def _metrics(model: Ranker, batch: Batch) -> Floats:
    """AUC or RMSE [tasks]; NaN where undefined."""
    raw, found = predict(model, batch), []
    for k, task in enumerate(model.schema_tasks):
        counted = batch.counted[:, k].cpu().numpy() > 0
        outputs, labels = scores(model, k, raw)[counted], batch.labels[:, k].cpu().numpy()[counted]
        if task.kind == "binary":
            value = auc(outputs, labels)
            found.append(float("nan") if value is None else value)
        else:
            found.append(float(np.sqrt(np.mean((outputs - labels) ** 2))) if len(labels) else float("nan"))
    return np.array(found)


def _table(found: Importance) -> Table:
    table = Table("field", box=None, padding=(0, 2, 0, 0))
    for task, metric in zip(found.tasks, found.metrics, strict=True):
        table.add_column(f"{task}: {metric} {'lost' if metric == 'AUC' else 'added'}", justify="right")
        table.add_column("share", justify="right")
    for row in _rows(found):
        table.add_row(*map(escape, row))
    return table


def _rows(found: Importance) -> list[list[str]]:
    """A field a row: fall ± standard deviation over the shuffles, and share, by task."""
    rows = []
    for k in found.order:
        row = [found.fields[k]]
        for task in range(len(found.tasks)):
            row += [f"{number(found.mean[k, task])} ± {found.spread[k, task]:.4f}", f"{found.share[k, task]:.0%}"]
        rows.append(row)
    return rows


def _told(found: Importance) -> list[str]:
    """How alike the tasks' orders are, and the field whose share differs most."""
    lines = []
    for one in range(len(found.tasks)):
        for other in range(one + 1, len(found.tasks)):
            value = found.correlation(one, other)
            gap = found.share[:, one] - found.share[:, other]
            k = int(np.abs(gap).argmax())
            lines.append(
                f"{found.tasks[one]} and {found.tasks[other]}: rank correlation of the fields' importances "
                f"{'–' if value is None else f'{value:.2f}'}; furthest apart on {found.fields[k]} "
                f"({found.share[k, one]:.0%} against {found.share[k, other]:.0%})."
            )
    return lines


def _write(out: Path, found: Importance, title: str, split: str) -> None:
    """The table as CSV, the heat map, and a page with both."""
    with whole_file(out / "importance.csv") as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["field", "task", "metric", "whole", "fall", "sd", "share", "repeats", "rows"])
        repeats = found.falls.shape[2]
        for k in found.order:
            for t, task in enumerate(found.tasks):
                numbers = [found.whole[t], found.mean[k, t], found.spread[k, t], found.share[k, t]]
                shown = [f"{number:.6g}" for number in numbers]
                writer.writerow([found.fields[k], task, found.metrics[t], *shown, repeats, found.rows])
    document = Document(title, _blocks(found, split))
    write_text(out / "importance.svg", document.figures[0].svg)
    write_text(out / "importance.html", document.html())
    write_text(out / "importance.md", document.markdown())


def _blocks(found: Importance, split: str) -> list[Block]:
    wholes = [f"{t} {m} {v:.4f}" for t, m, v in zip(found.tasks, found.metrics, found.whole, strict=True)]
    lead = (
        f"{found.rows:,} {split} rows, {found.falls.shape[2]} shuffles a field; whole rows: {', '.join(wholes)}. "
        "Importance is how far AUC falls, or RMSE rises, when one field is shuffled over the rows."
    )
    names = [found.fields[k] for k in found.order]
    svg = heat_map(names, found.tasks, found.share[found.order], found.mean[found.order])
    columns = ["field", *(c for t, m in zip(found.tasks, found.metrics, strict=True) for c in (f"{t}: {m}", "share"))]
    return [
        Text(lead, lead=True),
        *map(Text, _told(found)),
        Figure("importance", svg, "Share of each field in a task's importance"),
        Heading("Numbers"),
        Text("Mean ± standard deviation over shuffles; share of the task's sum, falls below 0 counted as 0."),
        Grid(columns, _rows(found)),
    ]
