"""One Locust run without its web page, and the report of it: report.html, requests.csv, failures.csv."""

import csv
import io
import signal
from dataclasses import dataclass
from pathlib import Path

import gevent
import locust.stats
from locust.env import Environment
from locust.html import get_html_report
from locust.runners import Runner
from locust.stats import StatsCSV, stats_history

from contract.files import write_text
from loadtest.thresholds import Summary
from loadtest.users import ScoringUser

_DRAIN_SECONDS = 10.0  # for requests in flight when the run ends


def _three_digits(milliseconds: float) -> float:
    return float(f"{milliseconds:.3g}")


@dataclass
class Run:
    """A run that ended, by time or by Ctrl-C."""

    environment: Environment
    runner: Runner
    interrupted: bool = False

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


def run(host: str, users: int, seconds: float) -> Run:
    """Load `host` for so long; Ctrl-C and SIGTERM end it early, and it still counts."""
    locust.stats.bucket_response_time = _three_digits  # type: ignore[assignment]  # Locust's own steps of 1 ms are coarse for a p99 of 5 ms
    environment = Environment(user_classes=[ScoringUser], host=host, stop_timeout=_DRAIN_SECONDS)
    runner = environment.create_local_runner()
    done = Run(environment, runner)

    def interrupt() -> None:
        done.interrupted = True
        runner.quit()

    handlers = [gevent.signal_handler(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)]
    history = gevent.spawn(stats_history, runner)
    runner.start(users, spawn_rate=users)
    timer = gevent.spawn_later(seconds, runner.quit)
    runner.greenlet.join()
    gevent.killall([timer, history])
    for handler in handlers:
        handler.cancel()
    return done
