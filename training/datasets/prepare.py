"""`python -m training prepare SOURCE`: raw files → a prepared data set (see prepared.py)."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from contract.errors import ConfigError, DataError
from contract.schema import Schema, Task
from training.datasets.bank import read_bank
from training.datasets.census import PAIRS, read_census
from training.datasets.click_log import Size
from training.datasets.flat_log import CLICK_RATE, CONVERSION_RATE
from training.datasets.open_bandit import read_open_bandit
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import SPLITS, Prepared
from training.datasets.raw import Raw
from training.datasets.synthetic import EFFECTS, draw
from training.datasets.table import read_tables, write_tables

RATES = {"aliccp": (Size.click_rate, Size.conversion_rate), "flat": (CLICK_RATE, CONVERSION_RATE)}
EFFECT_OPTIONS = ("main", "factors", "pairs", "rho", "specific")
SHAPE_HELP = "aliccp: the fields of Ali-CCP (default); flat: twelve categorical fields, for studying pairs of ids"
SPECIFIC_HELP = "of the pair tables' variance that is of one task alone; default: 3/7 (by number of tables), flat: 1/2"

Parsers = argparse._SubParsersAction  # the only name that argparse has for it


def add_parser(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    """Add `prepare`, with one parser a source."""
    parser = subparsers.add_parser("prepare", help="raw files → a prepared data set", description=__doc__)
    sources = parser.add_subparsers(metavar="SOURCE", dest="source", required=True)
    _add_table(sources)
    _add_synthetic(sources)
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
    console.print(f"prepare: {len(raw.interactions):,} rows, {len(raw.schema.fields)} fields", highlight=False)
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
    raw = _draw(args)
    if args.raw_out is not None:
        write_tables(raw, args.raw_out)
    return raw


def _draw(args: argparse.Namespace) -> Raw:
    if args.shape != "flat" and args.pair_fields is not None:
        raise ConfigError("--pair-fields chooses between the halves of --shape flat; aliccp has its pairs fixed")
    click_rate, conversion_rate = RATES[args.shape]
    size = Size(
        args.rows,
        args.users,
        args.items,
        click_rate if args.click_rate is None else args.click_rate,
        conversion_rate if args.conversion_rate is None else args.conversion_rate,
    )
    given = {name: value for name in EFFECT_OPTIONS if (value := getattr(args, name)) is not None}
    effects = replace(EFFECTS[args.shape], **given)
    return draw(size, args.seed, args.shape, effects, args.pair_fields or "large")


def _add_table(sources: "Parsers[argparse.ArgumentParser]") -> None:
    table = sources.add_parser("table", help="your own CSV or Parquet files and a YAML schema")
    table.add_argument("--raw", type=Path, help="folder with interactions.*, users.*, items.*, schema.yaml, or a file")
    table.add_argument("--interactions", type=Path, metavar="FILE", help="CSV or Parquet, a row an impression")
    table.add_argument("--users", type=Path, metavar="FILE", help="a row a user")
    table.add_argument("--items", type=Path, metavar="FILE", help="a row an item")
    table.add_argument("--schema", type=Path, metavar="FILE", help="default: schema.yaml in --raw")


def _add_synthetic(sources: "Parsers[argparse.ArgumentParser]") -> None:
    synthetic = sources.add_parser("synthetic", help="a click log drawn from a known true probability")
    synthetic.add_argument("--rows", type=_count, default=200_000, help="impressions (default %(default)s)")
    synthetic.add_argument("--seed", type=int, default=1)
    synthetic.add_argument("--users", type=_count, default=20_000)
    synthetic.add_argument("--items", type=_count, default=5_000)
    synthetic.add_argument("--shape", choices=("aliccp", "flat"), default="aliccp", help=SHAPE_HELP)
    synthetic.add_argument("--click-rate", type=_share, help=f"default: .039, flat: {CLICK_RATE:g}")
    synthetic.add_argument("--conversion-rate", type=_share, help=f"of clicks; default: .08, flat: {CONVERSION_RATE:g}")
    synthetic.add_argument("--raw-out", type=Path, metavar="DIR", help="also write it as CSV files with schema.yaml")
    truth = synthetic.add_argument_group("the truth", "what each term adds to the logit, as a standard deviation")
    truth.add_argument("--pairs", type=_strength, metavar="SD", help="free tables over pairs of fields; default: .9")
    truth.add_argument("--main", type=_strength, metavar="SD", help="an effect of every value; default: .5")
    truth.add_argument("--factors", type=_strength, metavar="SD", help="taste of user for item; default: .5, flat: .2")
    truth.add_argument("--rho", type=_correlation, help="correlation of tastes in clicking and buying; default: .5")
    truth.add_argument("--specific", type=_portion, metavar="SHARE", help=SPECIFIC_HELP)
    truth.add_argument("--pair-fields", choices=("large", "small"), help="flat: halves by ids a field; default: large")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1")
    return value


def _strength(text: str) -> float:
    return _between(text, 0, 10)


def _portion(text: str) -> float:
    return _between(text, 0, 1)


def _correlation(text: str) -> float:
    return _between(text, -1, 1)


def _between(text: str, low: float, high: float) -> float:
    value = float(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{value:g} is not in {low:g} to {high:g}")
    return value


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
