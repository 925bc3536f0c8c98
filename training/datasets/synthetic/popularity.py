"""Which items there are on each day of the log, in the order of their popularity, which drifts."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.datasets.synthetic.counters import LEVELS, ZIPF, below, normals, shorts, stream
from training.datasets.synthetic.spec import SLATE, Floats, Ints, Spec


def first_day(spec: Spec, items: Ints) -> Ints:
    """The day that an item appears on: 0 for all but a share `cold`; SLATE items are there from the start."""
    drawn = shorts(stream(spec.seed, "cold"), items, 2)
    cold = (drawn[:, 0] < spec.cold * LEVELS) & (items >= SLATE) & (spec.days > 1)
    return np.where(cold, 1 + below(drawn[:, 1], spec.days - 1), 0)


def ranked(spec: Spec, day: int) -> NDArray[np.int32]:
    """Numbers of the items that are there on a day, the most popular first."""
    return _ranked(spec.population, day)


@lru_cache(maxsize=8)  # a log is read in the order of time
def _ranked(spec: Spec, day: int) -> NDArray[np.int32]:
    items = np.arange(spec.items)
    there = items[first_day(spec, items) <= day]
    if spec.drift and day:
        appeal = _walk(spec, there, day) - ZIPF * np.log1p(there)
        there = there[np.argsort(-appeal, kind="stable")]
    return there.astype(np.int32)


def _walk(spec: Spec, items: Ints, day: int) -> Floats:
    """How far the log of an item's popularity has moved by a day: one step a day."""
    total = np.zeros(len(items))
    for step in range(1, day + 1):
        total += normals(stream(spec.seed, f"popularity:{step}"), items, 1)[:, 0]
    moved: Floats = total * spec.drift / np.sqrt(max(1, spec.days - 1))
    return moved
