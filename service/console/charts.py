"""Geometry of the drawings; templates draw it as SVG, and words and numbers stand beside it as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, log10

from service.console.figures import moment
from service.experiments.config import SLOTS, Layer
from service.experiments.readout.report import Comparison, Interval, Point

WIDTH, HEIGHT = 600.0, 240.0  # of the chart over time; it is stretched to the page
MOST_POINTS = 120  # of the chart and of the table below it; more are finer than the eye


@dataclass(frozen=True)
class Part:
    """A piece of a layer's 10,000 slots; `tone` is None where no experiment has them."""

    start: int
    stop: int
    key: str | None
    tone: int | None

    @property
    def size(self) -> int:
        """Slots in it."""
        return self.stop - self.start


def slot_parts(layer: Layer) -> list[Part]:
    """The 10,000 slots in order, free ones too."""
    taken = sorted(
        (start, stop, experiment.key, tone)
        for tone, experiment in enumerate(layer.experiments)
        for start, stop in experiment.slots
    )
    parts, last = [], 0
    for start, stop, key, tone in taken:
        if last < start:
            parts.append(Part(last, start, None, None))
        parts.append(Part(start, stop, key, tone))
        last = stop
    return [*parts, Part(last, SLOTS, None, None)] if last < SLOTS else parts


def nice_limit(values: Sequence[float | None]) -> float:
    """The least round number that no value exceeds, so that half of it is round too."""
    most = max((abs(value) for value in values if value is not None), default=0.0)
    if not 0 < most < inf:
        return 0.01
    power = 10.0 ** floor(log10(most))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 6, 8, 10) if most <= step * power * (1 + 1e-9))


@dataclass(frozen=True)
class Forest:
    """One scale for the lifts of all metrics; places are 0 to 100, 50 being no lift."""

    limit: float

    def place(self, lift: float | None, otherwise: float | None = None) -> float:
        """Where a lift lies; beyond the scale, at its end."""
        value = otherwise if lift is None else lift
        return 50.0 if value is None else round(50 + 50 * min(1.0, max(-1.0, value / self.limit)), 2)

    def left(self, interval: Interval) -> float:
        """Where an interval begins; without a bound, at the end of the scale."""
        return self.place(interval.low, -self.limit)

    def right(self, interval: Interval) -> float:
        """Where it ends."""
        return self.place(interval.high, self.limit)


def forest(comparisons: Sequence[Comparison]) -> Forest:
    """A scale that shows every interval, unless some are far wider than most: those are cut."""
    bounds = sorted(
        abs(bound)
        for each in comparisons
        for bound in (each.always.low, each.always.high, each.lift)
        if bound is not None
    )
    if not bounds:
        return Forest(0.1)
    middle = bounds[len(bounds) // 2]
    return Forest(nice_limit([min(bounds[-1], 4 * middle)]))


@dataclass(frozen=True)
class Track:
    """An arm's lift over time: points of polylines and polygons in a WIDTH × HEIGHT box."""

    arm: str
    points: list[Point]
    limit: float
    estimate: str
    always: str
    fixed: tuple[str, str]
    boundary: tuple[str, str]

    @property
    def ticks(self) -> tuple[float, ...]:
        """Lifts to write beside it, from the top, evenly spaced."""
        return self.limit, self.limit / 2, 0.0, -self.limit / 2, -self.limit

    @property
    def crossed(self) -> Point | None:
        """The first point outside the stopping boundary."""
        return next((each for each in self.points if excludes_zero(each.always)), None)


def excludes_zero(interval: Interval) -> bool:
    """Whether it lies on one side of 0."""
    return (interval.low is not None and interval.low > 0) or (interval.high is not None and interval.high < 0)


def tracks(history: Sequence[Point]) -> list[Track]:
    """A chart for each arm that has a history of two points or more."""
    arms = dict.fromkeys(point.arm for point in history)
    whole = [[point for point in history if point.arm == arm and _drawable(point)] for arm in arms]
    drawn = [_thinned(points) for points in whole if len(points) > 1]
    late = [point for points in drawn for point in points[len(points) // 3 :]]  # the first intervals dwarf all others
    limit = nice_limit([bound for point in late for bound in (point.always.low, point.always.high)])
    return [_track(points, limit) for points in drawn]


def _drawable(point: Point) -> bool:
    return None not in (point.lift, point.always.low, point.always.high, moment(point.time))


def _thinned(points: list[Point]) -> list[Point]:
    step = ceil(len(points) / MOST_POINTS)
    return [*points[:-1:step], points[-1]]


def _track(points: list[Point], limit: float) -> Track:
    times = [time.timestamp() for point in points if (time := moment(point.time))]
    span = max(times[-1] - times[0], 1.0)
    across = [WIDTH * (time - times[0]) / span for time in times]

    def line(values: Sequence[float | None]) -> str:
        return " ".join(
            f"{x:.1f},{HEIGHT / 2 * (1 - min(1.05, max(-1.05, value / limit))):.1f}"
            for x, value in zip(across, values, strict=True)
            if value is not None
        )

    low, high = line([point.always.low for point in points]), line([point.always.high for point in points])
    half = [((point.always.high or 0) - (point.always.low or 0)) / 2 for point in points]
    return Track(
        arm=points[0].arm,
        points=points,
        limit=limit,
        estimate=line([point.lift for point in points]),
        always=" ".join([low, *reversed(high.split())]),
        fixed=(line([point.fixed.low for point in points]), line([point.fixed.high for point in points])),
        boundary=(line(half), line([-each for each in half])),
    )
