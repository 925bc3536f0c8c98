"""The primary metric over time: how the intervals closed in."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from service.experiments.config import Measure
from service.experiments.outcomes.moments import Moments
from service.experiments.outcomes.sums import ExperimentSums, Snapshot
from service.experiments.readout.comparisons import compare
from service.experiments.readout.report import Point

DAY = 86_400_000  # milliseconds
MOST = 60  # points of an arm, evenly taken from the snapshots; one takes a millisecond or two


def history(sums: ExperimentSums, control: str, arms: Sequence[str], measure: Measure) -> Iterator[Point]:
    """A point for each arm and time, the last one as of now."""
    now = Snapshot(time=sums.last, arms={name: arm.moments for name, arm in sums.arms.items()})
    seen = [each for each in sums.snapshots if each.time < sums.last]
    every = -(-len(seen) // MOST) or 1
    for snapshot in [*seen[::every], now]:
        moments = {name: snapshot.arms.get(name, Moments()) for name in (control, *arms)}
        for arm in arms:
            if moments[arm].total("users") and moments[control].total("users"):
                yield _point(snapshot.time, moments, control, arm, measure, measure.alpha / len(arms))


def users_a_day(sums: ExperimentSums, now: float) -> float:
    """New users a day, over the later half of the phase where a snapshot tells: at first, everybody is new."""
    users = sum(arm.moments.total("users") for arm in sums.arms.values())
    since, before = sums.first, 0
    for snapshot in sums.snapshots:
        if sums.first < snapshot.time <= (sums.first + now) / 2:
            since, before = snapshot.time, sum(each.total("users") for each in snapshot.arms.values())
    return (users - before) * DAY / (now - since) if now > since else 0.0


def iso(milliseconds: float) -> str:
    """A time as it is written in the readout."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _point(time: int, moments: dict[str, Moments], control: str, arm: str, measure: Measure, share: float) -> Point:
    found = compare(measure.primary, moments, control, arm, measure, share)
    users = moments[arm].total("users") + moments[control].total("users")
    return Point(time=iso(time), arm=arm, users=users, lift=found.lift, always=found.always, fixed=found.fixed)
