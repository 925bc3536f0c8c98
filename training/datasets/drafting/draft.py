"""`python -m training schema`: drafts schema.yaml from your own data, with a comment on every guess.

Ids, time and labels are known by their names; a column's side by what it depends on; its kind by its values.
"""

import argparse
import sys
from pathlib import Path

import yaml

from contract.errors import DataError
from contract.files import write_text
from contract.schema import parse_schema
from training.datasets.drafting.facts import Facts, facts_of
from training.datasets.drafting.fields import Columns, guess_fields
from training.datasets.drafting.roles import (
    CLICKS,
    CONVERSIONS,
    ITEM_IDS,
    OTHER_LABELS,
    TIMES,
    USER_IDS,
    first_named,
    plain,
)
from training.datasets.files.raw_file import read_table
from training.datasets.raw import RawTable

ENOUGH_TIMES = 20  # distinct moments from which a split by time leaves something in every part
ROWS = 1_000_000
NESTED = "objects, or lists in lists; make texts, numbers or lists of them"
HEAD = """\
# A draft: every guess says why. Edit it, then: python -m training prepare table --schema THIS_FILE --interactions ...
#   side      user, item: stored by id; context: arrives with the request; cross: arrives with each candidate
#   kind      categorical (default), multi (list; needs max_length; weights: a column of as many numbers), numeric
#   transform of a number: standard (default), log1p, none
#   encoding  dictionary (default; min_count drops rare values), hash (needs buckets) beyond millions of values,
#             quantile of a number (needs buckets), hour or weekday of a time (timezone: UTC by default)
#   cross     [a, b]: a field of two others, with encoding: hash and buckets, and without a column
#   default   raw value that stands for a missing one
#   tasks     kind: binary (default, labels 0 and 1) or continuous (any number)
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `schema`."""
    parser = subparsers.add_parser("schema", help="draft a schema file from your own data", description=__doc__)
    parser.add_argument(
        "--interactions", type=Path, required=True, metavar="FILE", help="CSV, JSON lines or Parquet, or a folder of it"
    )
    parser.add_argument("--users", type=Path, metavar="FILE", help="a row a user")
    parser.add_argument("--items", type=Path, metavar="FILE", help="a row an item")
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="look at the first (default %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: standard output)")
    parser.set_defaults(command=schema)


def schema(args: argparse.Namespace) -> int:
    """Draft, and write or print."""
    if args.out is not None and args.out.exists():
        raise DataError(f"{args.out}: exists; remove it or choose another --out, for it may hold your edits")
    if args.rows < 1:
        raise DataError(f"--rows {args.rows}: at least one row is needed")
    users, items = (None if path is None else read_table(path, rows=args.rows) for path in (args.users, args.items))
    text = draft(read_table(args.interactions, rows=args.rows), users, items, rows=args.rows)
    if args.out is None:
        print(text, end="")
    else:
        write_text(args.out, text)
        print(f"{args.out}: written; read its comments, edit, then run `python -m training prepare table`")
    if yaml.safe_load(text)["tasks"] == []:
        print("note: no column looks like a label; name one under `tasks:` before `prepare`", file=sys.stderr)
    return 0


def draft(
    interactions: RawTable, users: RawTable | None = None, items: RawTable | None = None, *, rows: int = ROWS
) -> str:
    """The text of a schema file for these tables; of those with `rows` rows there may be more."""
    tables = [table for table in (interactions, users, items) if table is not None]
    facts = facts_of(interactions)
    user_key = _key(facts, users, "user", USER_IDS)
    item_key = _key(facts, items, "item", ITEM_IDS)
    time = first_named(facts, TIMES, lambda name: facts[name].is_time)
    tasks = _tasks(facts)
    labels = tuple(column for _, column, _ in tasks)
    cut = len(interactions) == rows
    fields = guess_fields(Columns(facts, facts_of(users), facts_of(items), user_key, item_key, time, labels, cut))
    lines = [
        HEAD
        + "".join(f"# Of {table.where} the first {rows:,} rows were seen.\n" for table in tables if len(table) == rows),
        "version: 1",
        _top("user_key", user_key, "no column is named like a user id"),
        _top("item_key", item_key, "no column is named like an item id"),
        _top("time", time, "no column is a time by its name and its values"),
        "",
        _split(facts, time),
        "",
    ]
    lines += [*_task_lines(facts, tasks), "", "fields:", *(line for field in fields for line in field.lines())]
    lines += [f"  # left out: {name}: {NESTED}" for table in tables for name in table.names if name not in table.frame]
    text = "\n".join(lines) + "\n"
    if tasks:
        parse_schema(yaml.safe_load(text), "the draft")
    return text


def _key(facts: dict[str, Facts], table: RawTable | None, side: str, known: tuple[str, ...]) -> str | None:
    """The id column; where there is a table of that side, both must have it."""
    shared = [name for name in facts if table is None or name in table.names]
    found = first_named(shared, known, lambda name: not facts[name].is_list and not facts[name].missing)
    if found is None and table is not None:
        unique = [name for name in shared if len(facts_of(table)[name].distinct) == len(table)]
        found = unique[0] if unique else None
        if found is None:
            raise DataError(
                f"{table.where}: shares no {side} id with the interactions; give both the same column, like {known[0]}"
            )
    return found


def _tasks(facts: dict[str, Facts]) -> list[tuple[str, str, str]]:
    """Task name, label column and space of each likely label, in the order of the chain."""
    binary = [
        name
        for name, column in facts.items()
        if plain(name) in (*CLICKS, *CONVERSIONS, *OTHER_LABELS) and column.is_binary
    ]
    click, conversion = first_named(binary, CLICKS), first_named(binary, CONVERSIONS)
    tasks = [] if click is None else [("ctr", click, "all")]
    if conversion is not None:
        tasks.append(("cvr", conversion, "ctr") if click else ("conversion", conversion, "all"))
    if not tasks:
        tasks = [(plain(name), name, "all") for name in binary if plain(name) in OTHER_LABELS]
    return tasks


def _top(key: str, column: str | None, why: str) -> str:
    return f"{key}: null  # {why}" if column is None else f"{key}: {_scalar(column)}"


def _split(facts: dict[str, Facts], time: str | None) -> str:
    """By time where there are enough moments: later rows are what a service will meet."""
    if time is not None and len(facts[time].distinct) >= ENOUGH_TIMES:
        return "split: {by: time, train: 0.8, validation: 0.1}  # or random, or user"
    return "split: {by: random, train: 0.8, validation: 0.1}  # or time, or user"


def _task_lines(facts: dict[str, Facts], tasks: list[tuple[str, str, str]]) -> list[str]:
    if tasks:
        lines = ["tasks:  # in the order of the chain; space: the task whose label must be 1 for this one to count"]
        return lines + [f"  - {{name: {_scalar(n)}, label: {_scalar(c)}, space: {_scalar(s)}}}" for n, c, s in tasks]
    binary = [name for name, column in facts.items() if column.is_binary]
    return [
        "tasks: []  # no column is named like a label: put here what is to be predicted, as in",
        "  # tasks:",
        f"  #   - {{name: ctr, label: {_scalar(binary[0] if binary else 'click')}}}",
        f"  # Columns of 0 and 1: {_scalar(', '.join(binary)) if binary else 'none'}. Remove it from the fields.",
    ]


def _scalar(text: str) -> str:
    return str(yaml.safe_dump(text, default_style='"' if not text.isidentifier() else None, width=10_000)).split("\n")[
        0
    ]
