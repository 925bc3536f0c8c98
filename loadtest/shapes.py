"""How the load runs over time: how many users (closed) or sources of arrivals (open, with --rate) there are when.

closed  --users users, each with one request at a time
open    --rate requests/s of Poisson arrivals, whatever the replies do
spike   the load, --burst times the load for --burst-time, the load again
soak    the load, for long; memory and p99 are watched
steps   twice the load every --step-time until throughput or a threshold gives way; open: then halves the gap

Spike, soak and steps are closed without --rate and open with it; see loadtest/users.py for what open means.
"""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contract.errors import ConfigError
from loadtest.thresholds import Summary, Thresholds

if TYPE_CHECKING:
    from loadtest.recorder import Recorder

SHAPES = ("closed", "open", "spike", "soak", "steps")
SETTLING = 0.25  # share of a step that does not count: connections open, queues of the step before empty
_GROWS = 1.05  # closed: twice the users must bring more than 5 % more
_KEEPS_UP = 0.95  # open: so much of what is offered must be answered
_MOST_USERS = 4_096
_TIME = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")

Course = Callable[[float], int | None]  # seconds since the start → users, None at the end


@dataclass(frozen=True)
class Plan:
    """A validated shape; `users` are sources where `rate` is set, `seconds` 0 is without end."""

    shape: str
    users: int
    rate: float
    seconds: float
    burst: float
    burst_seconds: float
    step_seconds: float

    @property
    def source_rate(self) -> float:
        """Requests/s of one source; 0: closed."""
        return self.rate / self.users

    @property
    def burst_from(self) -> float:
        """A quarter of what is not burst comes before it."""
        return (self.seconds - self.burst_seconds) / 4

    def level(self, elapsed: float) -> int | None:
        """How many users there are at a time; None: the end. Not for steps, which depend on what they meet."""
        if self.seconds and elapsed >= self.seconds:
            return None
        burst = self.shape == "spike" and 0 <= elapsed - self.burst_from < self.burst_seconds
        return round(self.users * self.burst) if burst else self.users


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of all shapes."""
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="closed", help="closed, open, spike, soak or steps (default: closed)")
    add("--rate", type=float, default=0.0, help="requests/s of an open load; 0: closed, by users (default: 0)")
    add("--burst", type=float, default=4.0, help="spike: so many times the load (default: 4)")
    add("--burst-time", default="5s", help="spike: for so long (default: 5s)")
    add("--step-time", default="10s", help="steps: how long one lasts (default: 10s)")


def plan(args: argparse.Namespace, users: int, seconds: float) -> Plan:
    """Validate what `add_arguments` parsed; ConfigError names the argument."""
    times = {name: parse_seconds(name, getattr(args, name)) for name in ("burst_time", "step_time")}
    made = Plan(args.shape, users, args.rate, seconds, args.burst, times["burst_time"], times["step_time"])
    if users < 1:
        raise ConfigError(f"--users {users}: must be at least 1")
    if not 0 <= made.rate <= 1e6 or (made.shape == "open") > (made.rate > 0):
        raise ConfigError(f"--rate {args.rate:g}: must be a number of requests/s; --shape open needs one")
    if made.shape == "closed" and made.rate:
        raise ConfigError(f"--rate {args.rate:g}: a closed load has none; write --shape open, spike, soak or steps")
    if made.shape == "spike" and (not 1 < made.burst <= 1_000 or seconds < 3 * made.burst_seconds):
        raise ConfigError(f"--burst {args.burst:g}: must be above 1, and --run-time at least 3 times --burst-time")
    if made.shape == "steps" and made.step_seconds < 2:
        raise ConfigError(f"--step-time {args.step_time}: must be at least 2s")
    return made


def parse_seconds(name: str, text: str) -> float:
    """A time such as 30s, 5m or 1h30m; ConfigError names the argument."""
    parts = _TIME.fullmatch(text)
    seconds = (
        sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True)) if parts else 0
    )
    if not seconds:
        raise ConfigError(f"--{name.replace('_', '-')} {text}: write a time such as 30s, 5m or 1h30m")
    return float(seconds)


@dataclass(frozen=True)
class Step:
    """One level of the load, and what it came to."""

    users: int
    planned: float  # requests/s; 0: closed
    offered: float  # as planned, give or take what chance does to arrivals
    figures: Summary
    broken: list[str]  # thresholds that it is past

    @property
    def good(self) -> bool:
        """Nothing gave way, and an open load was kept up with."""
        return not self.broken and self.figures.requests_per_second >= _KEEPS_UP * self.offered


def offered(planned: float, arrived: float, seconds: float) -> float:
    """Requests/s that came, where Poisson explains the difference; as planned where the generator is too slow."""
    return arrived if abs(arrived - planned) * seconds <= 4 * (planned * seconds) ** 0.5 else planned


def next_level(done: list[Step]) -> int | None:
    """The level after these: doubled while all is well; in an open load then between the last good and first bad."""
    last = done[-1]
    good = max((step.users for step in done if step.good), default=0)
    bad = min((step.users for step in done if not step.good), default=None)
    if bad is None:
        grown = len(done) < 2 or _rate(last) > _GROWS * _rate(done[-2])
        return 2 * last.users if (last.planned or grown) and 2 * last.users <= _MOST_USERS else None
    between = (good + bad) // 2
    return between if last.planned and good and between - good >= max(1, good // 10) else None


def saturation(done: list[Step]) -> Step | None:
    """Open: the most that was kept up with. Closed: the fewest users that reach 95 % of the best throughput."""
    good = [step for step in done if step.good]
    if not good or good[0].planned:
        return max(good, key=lambda step: step.users, default=None)
    best = max(map(_rate, good))
    return min((step for step in good if _rate(step) >= best / _GROWS), key=lambda step: step.users)


def _rate(step: Step) -> float:
    return step.figures.requests_per_second


class Steps:
    """Walks up the levels."""

    def __init__(self, plan: Plan, limits: Thresholds, recorder: "Recorder") -> None:
        self.done: list[Step] = []
        self._plan, self._limits, self._recorder = plan, limits, recorder
        self._users, self._began = plan.users, 0.0

    def level(self, elapsed: float) -> int | None:
        """How many users there are now; None: the end."""
        if elapsed >= self._began + self._plan.step_seconds + self._recorder.lag:
            self.done.append(self._finished())
            following = next_level(self.done)
            if following is None:
                return None
            self._users, self._began = following, elapsed
        return None if self._plan.seconds and elapsed >= self._plan.seconds else self._users

    def _finished(self) -> Step:
        settled, end = self._began + SETTLING * self._plan.step_seconds, self._began + self._plan.step_seconds
        timeline = self._recorder.timeline
        figures, planned = timeline.window(settled, end), self._users * self._plan.source_rate
        met = offered(planned, timeline.offered(settled, end), figures.seconds)
        return Step(self._users, planned, met, figures, self._limits.broken(figures))


def draining(course: Course, lag: float) -> Course:
    """A course that ends with so many seconds of no users: workers still report, the last replies count too."""
    ended: list[float] = []

    def level(elapsed: float) -> int | None:
        users = None if ended else course(elapsed)
        if users is None:
            ended.append(elapsed)
        return 0 if ended and elapsed - ended[0] < lag else users

    return level
