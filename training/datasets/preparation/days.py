"""Impressions and labels by day: how a log changes over time, and whether it does so within a split."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.schema import Task
from training.datasets.prepared import SPLITS, Answered, Day, Days
from training.datasets.ranks import floats
from training.datasets.raw import instants_of

FIRST, LAST = 7_305, 47_482  # days after 1970 that may be meant: 1990 to 2099
_DAY = 86_400_000_000  # microseconds
_EPOCH = date(1970, 1, 1)


def days_of(times: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Days after 1970, by UTC, of what `RawColumn.moments` gave, [rows]; None where one is no plausible date.

    Moments are microseconds, or floats by their bits; what is a date as microseconds is next to 0 as a float.
    """
    dated = (times >= FIRST * _DAY) & (times <= LAST * _DAY + _DAY)
    numbers = instants_of(pl.Series(floats(times))).to_physical().fill_null(0).to_numpy()
    days = np.where(dated, times, numbers) // _DAY
    return days if ((days >= FIRST) & (days <= LAST)).all() else None


def count_days(days: NDArray[np.int64], parts: NDArray[np.integer], tasks: Sequence[Task], known: pl.DataFrame) -> Days:
    """Count the rows of a chunk; `parts` is the split of each, `known` has their labels."""
    cells, place = np.unique(days * len(SPLITS) + parts, return_inverse=True)
    rows = np.bincount(place)
    answers = {task.name: _answers(task, known, place, len(cells)) for task in tasks}
    found: Days = {split: {} for split in SPLITS}
    for k, cell in enumerate(cells):
        day, part = divmod(int(cell), len(SPLITS))
        answered = {
            name: Answered(rows=int(counted[k]), total=float(total[k])) for name, (counted, total) in answers.items()
        }
        found[SPLITS[part]][(_EPOCH + timedelta(day)).isoformat()] = Day(rows=int(rows[k]), tasks=answered)
    return found


def _answers(
    task: Task, known: pl.DataFrame, place: NDArray[np.int64], cells: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of the task's space whose label is known, and the sum of their labels, by cell."""
    labels = known[f"label:{task.name}"].to_numpy()
    counted = ~np.isnan(labels)
    if task.space != "all":
        counted &= known[f"label:{task.space}"].to_numpy() == 1
    total = np.bincount(place[counted], labels[counted], cells)
    return np.bincount(place[counted], minlength=cells), total.astype(np.float64)


def all_days(parts: Iterable[Days | None]) -> Days:
    """All chunks together, in order; nothing where the times of one are no dates."""
    found: dict[tuple[str, str], Day] = {}
    for part in parts:
        if part is None:
            return {}
        for split, days in part.items():
            for name, day in days.items():
                before = found.get((split, name))
                found[split, name] = day if before is None else _sum(before, day)
    return {split: {name: _rounded(found[split, name]) for s, name in sorted(found) if s == split} for split in SPLITS}


def _sum(one: Day, other: Day) -> Day:
    tasks: Mapping[str, Answered] = {
        name: Answered(rows=own.rows + other.tasks[name].rows, total=own.total + other.tasks[name].total)
        for name, own in one.tasks.items()
    }
    return Day(rows=one.rows + other.rows, tasks=dict(tasks))


def _rounded(day: Day) -> Day:
    """Nine digits: the last ones of a sum of floats depend on how the rows were cut into chunks."""
    tasks = {
        name: own.model_copy(update={"total": own.total if own.total.is_integer() else float(f"{own.total:.9g}")})
        for name, own in day.tasks.items()
    }
    return day.model_copy(update={"tasks": tasks})
