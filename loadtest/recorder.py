"""Listens to a Locust run: local, or a master that adds up what its workers report."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from contract.errors import ConfigError
from loadtest.service_calls import get
from loadtest.timeline import Sample, Timeline
from loadtest.users import ScoringUser

_KEY = "twinscore"  # in the reports of workers
_SAMPLE_SECONDS = 1.0
_METRIC = re.compile(r"^process_(resident_memory_bytes|cpu_seconds_total)(?:{.*})? (\S+)$", re.M)
REPORT_LAG = 4.0  # workers report every 3 s


class Recorder:
    """Timeline, counts and samples of the service; attach it once to an environment with a runner."""

    def __init__(self, environment: Environment) -> None:
        self.timeline = Timeline()
        self.samples: list[Sample] = []
        self._environment = environment
        self._sent: Counter[str] = Counter()
        self._watcher: gevent.Greenlet | None = None
        events = environment.events
        events.test_start.add_listener(self._start)  # type: ignore[no-untyped-call]
        events.test_stop.add_listener(self._stop)  # type: ignore[no-untyped-call]
        ScoringUser.arrived = self._arrived
        events.request.add_listener(self._request)  # type: ignore[no-untyped-call]
        events.report_to_master.add_listener(self._report)  # type: ignore[no-untyped-call]
        events.worker_report.add_listener(self._merge)  # type: ignore[no-untyped-call]

    @property
    def lag(self) -> float:
        """How many seconds the timeline can be behind."""
        return REPORT_LAG if isinstance(self._environment.runner, MasterRunner) else 0.0

    def _start(self, **_: object) -> None:
        self.timeline, self.samples = Timeline(), []
        ScoringUser.seen.clear()
        self._sent.clear()
        runner = self._environment.runner
        if runner is not None and not isinstance(runner, WorkerRunner):
            self._watcher = gevent.spawn(self._watch)

    def _arrived(self) -> None:
        self.timeline.arrival()

    def _request(
        self, response_time: float, exception: Exception | None, context: Mapping[str, int] | None, **_: object
    ) -> None:
        self.timeline.record(response_time, exception is not None, (context or {}).get("candidates", 0))

    def _report(self, data: dict[str, Any], **_: object) -> None:
        seen = Counter(ScoringUser.seen)
        data[_KEY] = {"slots": self.timeline.take(), "seen": dict(seen - self._sent)}
        self._sent = seen

    def _merge(self, data: dict[str, Any], **_: object) -> None:
        told = data.get(_KEY, {"slots": {}, "seen": {}})
        self.timeline.merge(told["slots"])
        ScoringUser.seen.update(told["seen"])

    def _stop(self, **_: object) -> None:
        if self._watcher is not None:
            self._watcher.kill()

    def _watch(self) -> None:
        """Sample the service's memory and CPU time until the run ends."""
        while True:
            if (found := _read_process(self._environment.host or "")) is not None:
                self.samples.append((self.timeline.elapsed(), *found))
            gevent.sleep(_SAMPLE_SECONDS)


def _read_process(host: str) -> tuple[float, float] | None:
    """Memory and CPU time in the service's /metrics, summed where several processes are shown."""
    try:
        status, body = get(host, "/metrics")
    except ConfigError:
        return None
    found: dict[str, float] = {}
    for name, value in _METRIC.findall(body.decode(errors="replace")) if status == 200 else ():
        found[name] = found.get(name, 0.0) + float(value)
    return (found["resident_memory_bytes"], found["cpu_seconds_total"]) if len(found) == 2 else None
