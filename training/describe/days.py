"""Labels by day: where a log changes over time, and which days each split has."""

from datetime import date
from itertools import groupby
from math import sqrt
from statistics import median
from typing import NamedTuple

from contract.schema import Task
from training.datasets.prepared import SPLITS, Answered, Prepared, SplitName
from training.describe.findings import DayFound, LabelFound, TaskFound
from training.describe.measures import Rate, Z

STEPS = 90  # of a drawn curve: more days are drawn as equal spans of days
THIN = 0.05  # of the rows of a usual span: less says nothing, and would set the scale


def days_found(data: Prepared, task: Task, splits: dict[SplitName, LabelFound]) -> tuple[DayFound, ...]:
    """Each day of each split; a continuous label has its mean, and the interval that its split's spread gives."""
    return tuple(
        _found(task.kind, split, day, counted.rows, counted.tasks[task.name], splits[split].sd)
        for split in SPLITS
        for day, counted in data.description.days.get(split, {}).items()
    )


def spans(task: TaskFound, steps: int = STEPS) -> list[DayFound]:
    """Days put together, as many a span as leave at most `steps`; each has the name of its first day."""
    places = [date.fromisoformat(day.day).toordinal() for day in task.days]
    first, width = min(places, default=0), _width(places, steps)
    begin = [date.fromordinal(place - (place - first) % width).isoformat() for place in places]
    span = {day.day: name for day, name in zip(task.days, begin, strict=True)}
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
    """What is drawn, thin days left out; None where there are less than two days."""
    found = [span for span in spans(task) if span.value is not None]
    usual = median(span.counted for span in found) if found else 0
    drawn = [span for span in found if span.counted >= THIN * usual]
    days = [date.fromisoformat(day.day).toordinal() for day in task.days]
    if len({span.day for span in drawn}) < 2:
        return None
    first, width = min(days), _width(days, STEPS)
    steps = (max(days) - first) // width + 1
    highest = max(span.high or 0.0 for span in drawn)
    lowest = 0.0 if task.kind == "binary" else min(span.low or 0.0 for span in drawn)

    def along(span: DayFound) -> float:
        return 100 * ((date.fromisoformat(span.day).toordinal() - first) // width + 0.5) / steps

    def height(value: float | None) -> float:
        return 100 * (highest - (value or 0.0)) / ((highest - lowest) or 1.0)

    marks = [Mark(span, along(span), height(span.value), height(span.high), height(span.low)) for span in drawn]
    return Curve(marks, min(day.day for day in task.days), max(day.day for day in task.days), lowest, highest)


def totals(task: TaskFound) -> list[tuple[str, float]]:
    """Days in order and their rates or means, all splits together; those without rows left out."""
    found: dict[str, tuple[int, float]] = {}
    for day in task.days:
        rows, total = found.get(day.day, (0, 0.0))
        found[day.day] = rows + day.counted, total + day.total
    return [(name, total / rows) for name, (rows, total) in sorted(found.items()) if rows]


def _width(days: list[int], steps: int) -> int:
    """Days of a span."""
    return -(-(max(days, default=0) - min(days, default=0) + 1) // steps)


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
