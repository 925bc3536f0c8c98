"""Fields of a draft that are made of other columns: hour and weekday of a time, weights of a list."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl

from contract.errors import DataError
from training.datasets.drafting.facts import Facts

DAYS = {"hour": timedelta(days=2), "weekday": timedelta(days=14)}  # seen twice, it is not one day's doing
EPOCH = datetime(1990, 1, 1)  # smaller numbers are counters, not seconds

Proposal = tuple[str, dict[str, object], str]


def of_time(time: Facts, taken: Iterable[str], cut: bool) -> list[Proposal]:
    """Name, options and reason of a field for each cycle that the log spans; none where a column says it already.

    A log of which the first rows alone were seen (`cut`) spans more than they say.
    """
    try:
        moments = time.column.instants()
    except DataError:
        return []
    first, last = moments.min(), moments.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime) or first < EPOCH:
        return []
    known = {name.lower() for name in taken}
    return [
        (
            cycle,
            {"name": cycle, "column": time.name, "side": "context", "encoding": cycle, "default": "now"},
            f"of '{time.name}', in UTC: add timezone, as Europe/Rome; where the request does not say, now",
        )
        for cycle, span in DAYS.items()
        if (cut or last - first >= span) and cycle not in known
    ]


def weights_of(columns: dict[str, Facts]) -> dict[str, str]:
    """Lists of other values → lists of floats of the same lengths, row by row; each is taken once."""
    lists = {name: facts.column.values for name, facts in columns.items() if facts.is_list}
    floats = [name for name, values in lists.items() if values.explode().dtype.is_float()]
    found: dict[str, str] = {}
    for weights in floats:
        fitting = [name for name in lists if name not in (*floats, *found) and _parallel(lists[name], lists[weights])]
        if fitting:
            found[max(fitting, key=lambda name: _shared(name, weights))] = weights
    return found


def _parallel(one: pl.Series, other: pl.Series) -> bool:
    lengths = [column.list.len().fill_null(0) for column in (one, other)]
    return bool((lengths[0] == lengths[1]).all() and (lengths[0] > 0).any())


def _shared(one: str, other: str) -> int:
    """Letters that two names begin with."""
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), len(one))
