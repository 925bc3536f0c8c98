"""One Locust run without its web page, and the report of it: report.html, requests.csv, failures.csv."""

import csv
import io
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import locust.stats
from locust import LoadTestShape
from locust.env import Environment
from locust.html import get_html_report
from locust.runners import Runner
from locust.stats import StatsCSV, stats_history

from contract.files import write_text
from loadtest.findings import Change, Findings, climb, growth, recovery
from loadtest.recorder import Recorder
from loadtest.shapes import Course, Plan, Steps
from loadtest.thresholds import Summary, Thresholds
from loadtest.timeline import three_digits
from loadtest.users import LATE_MS, ScoringUser

_MOST_LATE = 0.01  # of all requests, before it is worth a word
_DRAIN_SECONDS = 10.0  # for requests in flight when the run ends

# Locust's own steps of 1 ms are coarse for a p99 of 5 ms
locust.stats.bucket_response_time = three_digits  # type: ignore[assignment]


@dataclass
class Run:
    """A run, from before its start to after its end, by time or by Ctrl-C."""

    environment: Environment
    plan: Plan
    limits: Thresholds
    recorder: Recorder
    interrupted: bool = False
    seconds: float = field(default=0.0, init=False)
    changes: list[Change] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.steps = Steps(self.plan, self.limits, self.recorder) if self.plan.shape == "steps" else None

    @property
    def runner(self) -> Runner:
        """Locust's, local or master."""
        assert self.environment.runner is not None
        return self.environment.runner

    def level(self, elapsed: float) -> int | None:
        """How many users there are at a time; None: the end."""
        course = self.steps or self.plan
        users = None if self.interrupted else course.level(elapsed)
        self.seconds = min(elapsed, self.plan.seconds or elapsed)
        if users is not None and (not self.changes or users != self.changes[-1][1]):
            self.changes.append((elapsed, users))
        return users

    @property
    def counts(self) -> dict[str, int]:
        """Of the right replies: candidates, models, what they were scored without; and of requests sent late."""
        return dict(sorted(ScoringUser.seen.items()))

    def summary(self) -> Summary:
        """Figures of the whole run."""
        total = self.environment.stats.total
        crashes = sum(int(crash["count"]) for crash in self.runner.exceptions.values())
        return Summary(
            seconds=(total.last_request_timestamp or total.start_time) - total.start_time,
            requests=total.num_requests + crashes,
            failures=total.num_failures + crashes,
            candidates=ScoringUser.seen["candidates"],
            p50=total.get_response_time_percentile(0.50) or 0.0,
            p95=total.get_response_time_percentile(0.95) or 0.0,
            p99=total.get_response_time_percentile(0.99) or 0.0,
            slowest=total.max_response_time,
        )

    def findings(self) -> Findings:
        """What the shape was run to find out."""
        if self.plan.shape == "spike":
            return recovery(self.recorder.timeline, self.changes, self.seconds)
        if self.plan.shape == "soak":
            return growth(self.recorder.timeline, self.recorder.samples, self.seconds)
        return climb(self.steps.done) if self.steps else Findings()

    def broken(self) -> list[str]:
        """What fails the run; steps go past the thresholds on purpose, and are judged by what they found."""
        limits = [] if self.plan.shape == "steps" else self.limits.broken(self.summary())
        return limits + self.findings().broken

    def lines(self) -> list[str]:
        """What there is to show."""
        served = [f"{name}: {n:,}" for name, n in self.counts.items() if name.startswith(("model", "degraded"))]
        shown = [self.summary().table(), "; ".join(served) or "no reply was right"]
        late = ScoringUser.seen["late"] / max(1, self.summary().requests)
        if late > _MOST_LATE:
            shown.append(
                f"late: {late:.1%} of the requests left {LATE_MS:g} ms after they were due: the generator is slow"
            )
        return shown + self.findings().lines + [f"failure: {line}" for line in self.failures()[:5]]

    def failures(self) -> list[str]:
        """What went wrong and how often, most frequent first."""
        errors = [(int(error.occurrences), str(error.error)) for error in self.environment.stats.errors.values()]
        crashes = [(int(crash["count"]), str(crash["msg"])) for crash in self.runner.exceptions.values()]
        return [f"{count:,} x {message}" for count, message in sorted(errors + crashes, reverse=True)]

    def write(self, folder: Path) -> None:
        """Write the report, each file whole."""
        table = StatsCSV(self.environment, locust.stats.PERCENTILES_TO_REPORT)
        for name, rows in (("requests", table.requests_csv), ("failures", table.failures_csv)):
            stream = io.StringIO()
            rows(csv.writer(stream))
            write_text(folder / f"{name}.csv", stream.getvalue())
        html: str = get_html_report(self.environment, show_download_link=False)  # type: ignore[no-untyped-call]
        write_text(folder / "report.html", html)


class Shape(LoadTestShape):
    """What Locust asks once a second; `begin` makes the course of each run."""

    _course: Course
    _most = 1
    use_common_options = True
    begin: Callable[[], Course]

    def tick(self) -> tuple[int, float] | None:
        """Users, and how many of them start or stop a second: all at once."""
        if self.runner is not None and self.runner.shape_last_tick is None:
            self._course, self._most = self.begin(), 1
        users = self._course(self.get_run_time())  # type: ignore[no-untyped-call]
        self._most = max(self._most, users or 0)
        return None if users is None else (users, self._most)


def run(host: str, plan: Plan, limits: Thresholds) -> Run:
    """Load `host` as planned; Ctrl-C and SIGTERM end it early, and it still counts."""
    shape = Shape()  # type: ignore[no-untyped-call]
    environment = Environment(user_classes=[ScoringUser], host=host, stop_timeout=_DRAIN_SECONDS, shape_class=shape)
    shape.runner = runner = environment.create_local_runner()
    done = Run(environment, plan, limits, Recorder(environment))
    shape.begin = lambda: done.level
    ScoringUser.source_rate = plan.source_rate

    def interrupt() -> None:
        done.interrupted = True  # the shape ends at its next tick

    handlers = [gevent.signal_handler(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)]
    history = gevent.spawn(stats_history, runner)
    runner.start_shape()
    assert runner.shape_greenlet is not None
    runner.shape_greenlet.join()
    runner.quit()
    history.kill()
    for handler in handlers:
        handler.cancel()
    return done
