"""Columns → fields of a draft: side by what a column depends on, kind by its values; leaks are left out."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from contract.errors import DataError
from contract.schema import Side
from training.datasets.drafting.facts import Facts, agreement
from training.datasets.drafting.proposals import of_time, weights_of
from training.datasets.drafting.roles import CLICKS, CONVERSIONS, CROSS, NOT_A_FEATURE, OTHER_LABELS, leaks, plain, slug
from training.datasets.prepared import SPLITS

HASH_ABOVE, BUCKETS = 1_000_000, 1 << 20
RARE_ABOVE = 100_000  # distinct values from which those seen once are dropped
LONGEST_LIST = 50
ENOUGH = 5  # groups of rows from which a dependence is believed
ALL_SIDES = (Side.USER, Side.ITEM, Side.CONTEXT, Side.CROSS)

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Guess:
    """A field, or a column that is left out (no options), and why."""

    name: str
    options: dict[str, object]
    why: str

    def lines(self) -> list[str]:
        """The lines of the schema file."""
        why = "".join(letter if letter.isprintable() else "?" for letter in self.why)
        name = "".join(letter if letter.isprintable() else "?" for letter in self.name)
        if not self.options:
            return [f"  # left out: {name}: {why}"]
        flow = yaml.safe_dump(self.options, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
        return [f"  # {why}", f"  - {flow.strip()}"]


@dataclass(frozen=True)
class Columns:
    """The raw columns of all tables, and what the special ones are."""

    interactions: dict[str, Facts]
    users: dict[str, Facts]
    items: dict[str, Facts]
    user_key: str | None
    item_key: str | None
    time: str | None
    labels: tuple[str, ...]
    cut: bool = False  # whether the interactions have more rows


def guess_fields(columns: Columns) -> list[Guess]:
    """Fields in the order of their sides, then what is left out; DataError where nothing is left to learn from."""
    placed = list(_placed(columns))
    weights = {**weights_of(columns.interactions), **weights_of(columns.users), **weights_of(columns.items)}
    taken: list[str] = []
    fields: dict[Side, list[Guess]] = {side: [] for side in ALL_SIDES}
    left_out = []
    for facts, side, why in placed:
        is_key = facts.name == {Side.USER: columns.user_key, Side.ITEM: columns.item_key}.get(side)
        if facts.name in weights.values():
            continue
        if not is_key and (reason := _left_out(facts, columns)):
            left_out.append(Guess(facts.name, {}, reason))
            continue
        name = slug(facts.name, taken)
        taken.append(name)
        column = {} if name == facts.name else {"column": facts.name}
        kind, seen = ({}, "") if is_key else _kind(facts)
        if facts.name in weights:
            kind, seen = kind | {"weights": weights[facts.name]}, f"{seen}, weighted by '{weights[facts.name]}'"
        options = {"name": name, **column, "side": side.value, **kind, **_size(facts, kind)}
        fields[side].append(Guess(name, options, f"{_shown(facts)}{seen}; {why}"))
    if columns.time is not None:
        made = of_time(columns.interactions[columns.time], (*taken, *columns.interactions), columns.cut)
        fields[Side.CONTEXT] += [Guess(name, options, why) for name, options, why in made]
    found = [field for side in ALL_SIDES for field in fields[side]]
    if not found:
        raise DataError("no column is left as an input; the tables hold ids, labels and constants alone")
    return found + left_out


def _placed(columns: Columns) -> Iterator[tuple[Facts, Side, str]]:
    """Every column once, with its side; a side's own table goes before the interactions."""
    keys = {columns.user_key: Side.USER, columns.item_key: Side.ITEM}
    for name, side in keys.items():
        if name is not None:
            yield columns.interactions[name], side, f"identifies the {side}"
    for table, side in ((columns.users, Side.USER), (columns.items, Side.ITEM)):
        for name, facts in table.items():
            if name not in keys:
                yield facts, side, f"in the {side}s table"
    special = {*keys, columns.time, *columns.labels, *columns.users, *columns.items}
    groups = _groups(columns)
    for name, facts in columns.interactions.items():
        if name not in special:
            yield facts, *_side(facts, groups)


def _groups(columns: Columns) -> dict[str, Codes]:
    """Row groups that a column may depend on: user, item, and user with time."""
    named = {"user": columns.user_key, "item": columns.item_key}
    groups = {
        side: columns.interactions[name].codes.astype(np.int64) for side, name in named.items() if name is not None
    }
    if columns.time is not None:
        times = np.unique(columns.interactions[columns.time].column.moments(), return_inverse=True)[1]
        both = times + groups.get("user", np.zeros_like(times)) * (int(times.max()) + 1)
        groups["request"] = np.unique(both, return_inverse=True)[1]
    return groups


def _side(facts: Facts, groups: dict[str, Codes]) -> tuple[Side, str]:
    """Constant per user or item, if enough bear it out; else mostly constant per request; else of the candidate."""
    if plain(facts.name) in CROSS:
        return Side.CROSS, "by its name one value a candidate"
    votes = {group: agreement(facts.codes, codes) for group, codes in groups.items()}
    if "user" in votes and "request" in groups:  # rows of one request agree on a user's value for another reason
        first = np.unique(groups["request"], return_index=True)[1]
        votes["user"] = (agreement(facts.codes[first], groups["user"][first])[0], votes["user"][1])
    exact = {side: agree for side, (agree, not_) in votes.items() if side != "request" and agree >= ENOUGH and not not_}
    if exact:
        side = max(exact, key=lambda side: exact[side])
        return Side(side), f"constant per {side} ({exact[side]:,} of them tell)"
    agree, differ = votes.get("request", (0, 0))
    if agree + differ == 0:
        return Side.CONTEXT, "if it differs between the candidates of one request, side: cross"
    if differ <= 0.05 * agree:  # two requests of a user may fall on one moment
        return Side.CONTEXT, "constant per user and time"
    return Side.CROSS, "differs between rows of one user and time"


def _left_out(facts: Facts, columns: Columns) -> str | None:
    """Why a column is no input; None where it may be one."""
    name = plain(facts.name)
    try:
        distinct = len(facts.distinct)
    except DataError:
        return f"{facts.column.values.dtype} values cannot be used; make them texts, numbers or lists"
    if name in (*CLICKS, *CONVERSIONS, *OTHER_LABELS):
        return "named like a label, so known only afterwards; make it a task if it is 0/1 and to be predicted"
    if leaks(facts.name):
        return "named like something known only afterwards, or like the logging policy's own"
    if distinct > 1 and set(facts.distinct) <= set(SPLITS):
        return f"says who trains; to split by it: split: {{by: column, column: {facts.name}}}"
    if (label := _same_as_label(facts, columns)) is not None:
        return f"tells the label '{label}' exactly"
    if distinct <= 1:
        return "one value only" if distinct else "no values"
    if facts.column.values.dtype.is_temporal() or (facts.numbers is None and facts.is_time):
        return "a time; derive hour, weekday or age from it"
    if name in NOT_A_FEATURE or name.startswith("unnamed") or not facts.name.strip():
        return "counts or names rows"
    if facts.is_free_text:
        return "free text"
    if distinct == len(facts.codes) > 20 and not facts.is_numeric and not facts.is_list and not facts.separator:
        return "another value in every row"
    return None


def _same_as_label(facts: Facts, columns: Columns) -> str | None:
    """The label that equals the column, or that is 1 exactly where the column has a value."""
    for label in columns.labels:
        truth = columns.interactions[label].numbers
        if truth is None or len(truth) != len(facts.codes) or facts.name not in columns.interactions:
            continue
        positive = truth.to_numpy() == 1
        halves = [set(np.unique(facts.codes[positive])), set(np.unique(facts.codes[~positive]))]
        if (len(facts.distinct) <= 2 and not halves[0] & halves[1]) or bool(((facts.codes > 0) == positive).all()):
            return label
    return None


def _kind(facts: Facts) -> tuple[dict[str, object], str]:
    """Options of the kind, and what to say of it."""
    if facts.is_list or facts.separator is not None:
        length = max(1, min(facts.longest, LONGEST_LIST))
        mark = {} if facts.separator in (None, "|") else {"separator": facts.separator}
        return {"kind": "multi", "max_length": length, **mark}, f"; lists, 99 % of at most {facts.longest}"
    if facts.is_numeric:
        tail = {"transform": "log1p"} if facts.is_heavy_tailed else {}
        low, middle, high = np.quantile(facts.quantities, [0, 0.5, 1])
        default = {"default": float(f"{middle:.6g}")} if facts.missing else {}
        return {"kind": "numeric", **tail, **default}, f"; from {low:g} to {high:g}" + (", a long tail" if tail else "")
    if plain(facts.name) in ("position", "pos", "rank", "slot") and (facts.distinct == "1").any():
        return {"default": "1"}, "; where the request does not say, the first"
    words = facts.distinct.filter(facts.distinct.cast(pl.Float64, strict=False).is_null())
    mixed = 0 < len(words) < 0.5 * len(facts.distinct)
    return {}, f"; mostly numbers, but {words[0]!r}; empty those cells to make it numeric" if mixed else ""


def _size(facts: Facts, kind: dict[str, object]) -> dict[str, object]:
    if kind.get("kind") == "numeric" or len(facts.distinct) <= RARE_ABOVE:
        return {}
    return {"encoding": "hash", "buckets": BUCKETS} if len(facts.distinct) > HASH_ABOVE else {"min_count": 2}


def _shown(facts: Facts) -> str:
    examples = ", ".join(repr(value if len(value) <= 20 else value[:19] + "…") for value in facts.distinct[:3])
    missing = f"; {facts.missing:,} missing" if facts.missing else ""
    return f"{len(facts.distinct):,} values, like {examples}{missing}"
