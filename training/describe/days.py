"""Labels by day: where a log changes over time, and which days each split has."""

from itertools import groupby
from math import sqrt
from typing import NamedTuple

from contract.schema import Task
from training.datasets.prepared import SPLITS, Answered, Prepared, SplitName
from training.describe.findings import DayFound, LabelFound, TaskFound
from training.describe.measures import Rate, Z

STEPS = 90  # of a drawn curve: more days are drawn as equal spans of days


def days_found(data: Prepared, task: Task, splits: dict[SplitName, LabelFound]) -> tuple[DayFound, ...]:
    """Each day of each split; a continuous label has its mean, and the interval that its split's spread gives."""
    return tuple(
        _found(task.kind, split, day, counted.rows, counted.tasks[task.name], splits[split].sd)
        for split in SPLITS
        for day, counted in data.description.days.get(split, {}).items()
    )


def spans(task: TaskFound, steps: int = STEPS) -> list[DayFound]:
    """Days put together, as many a span as leave at most `steps`; each has the name of its first day."""
    names = sorted({day.day for day in task.days})
    width = -(-len(names) // steps) or 1
    span = {name: names[place - place % width] for place, name in enumerate(names)}
    return [
        _together(task, split, name, list(days))
        for split in SPLITS
        for name, days in groupby((day for day in task.days if day.split == split), lambda day: span[day.day])
    ]


class Mark(NamedTuple):
    """A span on the curve, in per cent: from the left, and its value and interval from the top."""

    span: DayFound
    x: float
    y: float
    top: float
    bottom: float


class Curve(NamedTuple):
    """A task over time; rates are drawn from 0, means from the lowest."""

    marks: list[Mark]
    first: str
    last: str
    lowest: float
    highest: float


def curve(task: TaskFound) -> Curve | None:
    """What is drawn; None where there are less than two days."""
    drawn = [span for span in spans(task) if span.value is not None]
    names = sorted({span.day for span in drawn})
    if len(names) < 2:
        return None
    highest = max(span.high or 0.0 for span in drawn)
    lowest = 0.0 if task.kind == "binary" else min(span.low or 0.0 for span in drawn)
    place = {name: 100 * (k + 0.5) / len(names) for k, name in enumerate(names)}

    def height(value: float | None) -> float:
        return 100 * (highest - (value or 0.0)) / ((highest - lowest) or 1.0)

    marks = [Mark(span, place[span.day], height(span.value), height(span.high), height(span.low)) for span in drawn]
    return Curve(marks, names[0], max(day.day for day in task.days), lowest, highest)


def totals(task: TaskFound) -> list[tuple[str, float]]:
    """Days in order and their rates or means, all splits together; those without rows left out."""
    found: dict[str, tuple[int, float]] = {}
    for day in task.days:
        rows, total = found.get(day.day, (0, 0.0))
        found[day.day] = rows + day.counted, total + day.total
    return [(name, total / rows) for name, (rows, total) in sorted(found.items()) if rows]


def _together(task: TaskFound, split: SplitName, name: str, days: list[DayFound]) -> DayFound:
    answered = Answered(rows=sum(day.counted for day in days), total=sum(day.total for day in days))
    return _found(task.kind, split, name, sum(day.rows for day in days), answered, task.splits[split].sd)


def _found(kind: str, split: SplitName, name: str, rows: int, own: Answered, sd: float | None) -> DayFound:
    value, between = None, None
    if own.rows and kind == "binary":
        rate = Rate(own.rows, round(own.total))
        value, between = rate.value, rate.interval
    elif own.rows:
        value, half = own.total / own.rows, Z * (sd or 0.0) / sqrt(own.rows)
        between = value - half, value + half
    low, high = between or (None, None)
    return DayFound(
        day=name, split=split, rows=rows, counted=own.rows, total=own.total, value=value, low=low, high=high
    )
