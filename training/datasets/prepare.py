"""`python -m training prepare SOURCE`: raw files → a prepared data set (see prepared.py)."""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from contract.errors import DataError
from contract.schema import Schema, Task
from training.datasets.bank import read_bank
from training.datasets.census import PAIRS, read_census
from training.datasets.open_bandit import read_open_bandit
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import SPLITS, Prepared
from training.datasets.raw import Raw
from training.datasets.synthetic import command as synthetic
from training.datasets.table import read_tables

Parsers = argparse._SubParsersAction  # the only name that argparse has for it


def add_parser(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    """Add `prepare`, with one parser a source."""
    parser = subparsers.add_parser("prepare", help="raw files → a prepared data set", description=__doc__)
    sources = parser.add_subparsers(metavar="SOURCE", dest="source", required=True)
    _add_table(sources)
    synthetic.add_parser(sources)
    census = sources.add_parser("census", help="UCI Census-Income (KDD): two tasks of one person")
    census.add_argument("--raw", type=Path, required=True, help="folder with census-income.test.gz, or the file")
    census.add_argument("--pair", choices=sorted(PAIRS), default="A", help="A: income, B: college; each with marriage")
    bank = sources.add_parser("bank", help="UCI Bank Marketing: subscription and duration of a call, a hybrid pair")
    bank.add_argument("--raw", type=Path, required=True, help="bank-additional.zip, its CSV, or the folder of either")
    bandit = sources.add_parser("open_bandit", help="Open Bandit Dataset, small version: real recommendations")
    bandit.add_argument("--raw", type=Path, required=True, help="folder with random/ and bts/")
    for source in sources.choices.values():
        source.add_argument("--out", type=Path, required=True, help="folder of the prepared data set, replaced whole")
        source.set_defaults(command=prepare)


def prepare(args: argparse.Namespace) -> int:
    """Read the source, write the data set, say what it holds."""
    console = Console(stderr=True)
    console.print(f"prepare: reading {args.source}", highlight=False)
    raw = _read(args)
    console.print(f"prepare: {raw.source}, {len(raw.schema.fields)} fields", highlight=False)
    try:
        write_prepared(raw, args.out)
    except OSError as error:
        raise DataError(f"{args.out}: cannot be written: {error.strerror or error}") from None
    _print_summary(Prepared.open(args.out))
    return 0


def _read(args: argparse.Namespace) -> Raw:
    if args.source == "table":
        return read_tables(args.raw, args.interactions, args.users, args.items, args.schema)
    if args.source == "census":
        return read_census(args.raw, args.pair)
    if args.source == "bank":
        return read_bank(args.raw)
    if args.source == "open_bandit":
        return read_open_bandit(args.raw)
    return synthetic.read(args)


def _add_table(sources: "Parsers[argparse.ArgumentParser]") -> None:
    table = sources.add_parser("table", help="your own CSV or Parquet files and a YAML schema")
    table.add_argument("--raw", type=Path, help="folder with interactions.*, users.*, items.*, schema.yaml, or a file")
    table.add_argument("--interactions", type=Path, metavar="FILE", help="CSV or Parquet, a row an impression")
    table.add_argument("--users", type=Path, metavar="FILE", help="a row a user")
    table.add_argument("--items", type=Path, metavar="FILE", help="a row an item")
    table.add_argument("--schema", type=Path, metavar="FILE", help="default: schema.yaml in --raw")


def _print_summary(prepared: Prepared) -> None:
    console, description = Console(), prepared.description
    for split in SPLITS:
        labels = prepared.interactions(split).select(r"^label:.*$").collect()
        rates = ", ".join(f"{task.name} {_rate(prepared.schema, task, labels)}" for task in prepared.schema.tasks)
        console.print(f"{split:<11}{description.rows[split]:>12,} rows   {rates}", highlight=False)
    console.print(f"{description.users:,} users, {description.items:,} items → {prepared.path}", highlight=False)


def _rate(schema: Schema, task: Task, labels: pl.DataFrame) -> str:
    """Mean label in the task's own space."""
    values = labels[f"label:{task.name}"]
    inside = values if task.space == "all" else values.filter(labels[f"label:{task.space}"] == 1)
    mean = float(np.nanmean(inside.to_numpy())) if inside.count() else float("nan")
    shown = f"{mean:.4%}" if task.kind == "binary" else f"mean {mean:.4g}"
    return shown if task.space == "all" else f"{shown} of {len(inside):,} with {task.space}"
