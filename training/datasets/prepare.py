"""`python -m training prepare SOURCE`: raw files → a prepared data set (see prepared.py)."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

from polars.exceptions import PolarsError
from rich.console import Console

from contract.errors import DataError
from training.datasets.aliccp import command as aliccp
from training.datasets.bank import read_bank
from training.datasets.census import PAIRS, read_census
from training.datasets.open_bandit import read_open_bandit
from training.datasets.pipeline import Options, write_prepared
from training.datasets.preparation.mapping import mapper
from training.datasets.preparation.summary import print_summary
from training.datasets.prepared import Prepared
from training.datasets.raw import Raw
from training.datasets.synthetic import command as synthetic
from training.datasets.table import read_tables

EXTEND_HELP = "an earlier data set: its ids are kept, new values are appended, its users and items are taken over"
SKIP_HELP = "leave out up to N bad rows, which OUT/rejected.jsonl lists (default: the first one ends the run)"
WORKERS_HELP = "processes on this machine, by Ray (default: this one alone)"

Parsers = argparse._SubParsersAction  # the only name that argparse has for it


def add_parser(subparsers: "Parsers[argparse.ArgumentParser]") -> None:
    """Add `prepare`, with one parser a source."""
    parser = subparsers.add_parser("prepare", help="raw files → a prepared data set", description=__doc__)
    sources = parser.add_subparsers(metavar="SOURCE", dest="source", required=True)
    _add_table(sources)
    aliccp.add_parser(sources)
    synthetic.add_parser(sources)
    _add_benchmarks(sources)
    for source in sources.choices.values():
        source.add_argument("--out", type=Path, required=True, help="folder of the prepared data set, replaced whole")
        how = source.add_argument_group("how")
        how.add_argument("--extend", type=Path, metavar="DIR", help=EXTEND_HELP)
        how.add_argument("--skip-bad", type=_count, default=0, metavar="N", help=SKIP_HELP)
        how.add_argument("--workers", type=_count, default=0, metavar="N", help=WORKERS_HELP)
        how.add_argument("--cluster", metavar="ADDRESS", help="a Ray cluster that does the work, as ray://head:10001")
        source.set_defaults(command=prepare)


def prepare(args: argparse.Namespace) -> int:
    """Read the source, write the data set, say what it holds."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"prepare: reading {args.source}", highlight=False)
    raw = READERS[args.source](args)
    console.print(f"prepare: {raw.source}, {len(raw.schema.fields)} fields", highlight=False)
    earlier = None if args.extend is None else Prepared.open(args.extend)
    try:
        with mapper(args.workers, args.cluster) as mapped:
            write_prepared(raw, args.out, Options(args.skip_bad, earlier, mapped, console))
    except (OSError, PolarsError) as error:
        why = _fault_of_disk(error)
        if why is None:
            raise
        told = f"{args.out}: cannot be written: {why}; the same command goes on from what is done"
        raise DataError(told) from None
    print_summary(Prepared.open(args.out), earlier)
    return 0


def _fault_of_disk(error: OSError | PolarsError) -> str | None:
    """What the operating system said; Polars has it in its own words."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    found = re.search(r"\(os error (\d+)\)", str(error))
    return found and os.strerror(int(found[1]))


def _table(args: argparse.Namespace) -> Raw:
    return read_tables(args.raw, args.interactions, args.users, args.items, args.schema)


READERS: dict[str, Callable[[argparse.Namespace], Raw]] = {
    "table": _table,
    "aliccp": aliccp.read,
    "synthetic": synthetic.read,
    "census": lambda args: read_census(args.raw, args.pair),
    "bank": lambda args: read_bank(args.raw),
    "open_bandit": lambda args: read_open_bandit(args.raw),
}


def _add_benchmarks(sources: "Parsers[argparse.ArgumentParser]") -> None:
    census = sources.add_parser("census", help="UCI Census-Income (KDD): two tasks of one person")
    census.add_argument("--raw", type=Path, required=True, help="folder with census-income.test.gz, or the file")
    census.add_argument("--pair", choices=sorted(PAIRS), default="A", help="A: income, B: college; each with marriage")
    bank = sources.add_parser("bank", help="UCI Bank Marketing: subscription and duration of a call, a hybrid pair")
    bank.add_argument("--raw", type=Path, required=True, help="bank-additional.zip, its CSV, or the folder of either")
    bandit = sources.add_parser("open_bandit", help="Open Bandit Dataset, small version: real recommendations")
    bandit.add_argument("--raw", type=Path, required=True, help="folder with random/ and bts/")


def _add_table(sources: "Parsers[argparse.ArgumentParser]") -> None:
    table = sources.add_parser("table", help="your own CSV, JSON lines or Parquet files and a YAML schema")
    table.add_argument("--raw", type=Path, help="folder with interactions.*, users.*, items.*, schema.yaml, or a file")
    table.add_argument("--interactions", type=Path, metavar="FILE", help="file or folder, a row an impression")
    table.add_argument("--users", type=Path, metavar="FILE", help="a row a user")
    table.add_argument("--items", type=Path, metavar="FILE", help="a row an item")
    table.add_argument("--schema", type=Path, metavar="FILE", help="default: schema.yaml in --raw")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a number")
    return int(text)
