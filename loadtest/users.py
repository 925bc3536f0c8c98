"""The Locust user: asks for scores and judges the replies, in a closed loop or as an open source of arrivals.

Closed: one request at a time, the next when the reply is there. A slow service is then asked less, and its queueing
stays unseen. Open: each user is a Poisson source of `source_rate` requests a second that are sent when they are due,
whatever became of those before; users together are a Poisson source of the summed rate, also over many processes.
Latency counts from the moment at which a request was due, so that a stall shows in every request that it delayed (no
coordinated omission). Pacing in Locust (constant_throughput) is no open load: each user still waits for its reply,
and a delay is neither made up for nor counted.
"""

from collections import Counter
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import ClassVar

import gevent
import numpy as np
from gevent.pool import Pool
from locust import FastHttpUser, task

from loadtest.payloads import Payloads, Request
from loadtest.replies import judge

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_MOST_IN_FLIGHT = 256  # of one source; more arrivals than that are failures, not memory
_TIMEOUT_SECONDS = 10.0
LATE_MS = 10.0  # a request sent so much after it was due tells that the load generator itself is too slow


class ScoringUser(FastHttpUser):
    """Its requests are drawn by a generator of its own."""

    host = "http://127.0.0.1:8000"
    network_timeout = connection_timeout = _TIMEOUT_SECONDS
    concurrency = _MOST_IN_FLIGHT
    payloads: ClassVar[Payloads]  # set before the first user starts
    source_rate: ClassVar[float] = 0.0  # requests/s of each open source; 0: closed
    seen: ClassVar[Counter[str]] = Counter()  # candidates, late, model <name>, degraded <reason>
    arrived: ClassVar[Callable[[], None]]  # called for each arrival of an open source, sent or not
    _numbers: ClassVar["count[int]"] = count()

    def on_start(self) -> None:
        """Each user draws requests of its own, whichever process it runs in."""
        process = getattr(self.environment.runner, "worker_index", 0)
        self._rng = np.random.default_rng([self.payloads.seed, process, next(self._numbers)])
        self._in_flight = Pool(_MOST_IN_FLIGHT)
        self._due = perf_counter()
        if self.source_rate:
            self._plan_next()

    def on_stop(self) -> None:
        """Replies that are on their way still count."""
        self._in_flight.join(timeout=_TIMEOUT_SECONDS)

    def wait_time(self) -> float:
        """Seconds until the next request is due."""
        return max(0.0, self._due - perf_counter()) if self.source_rate else 0.0

    @task
    def score(self) -> None:
        """POST /score once, or send it on its way."""
        if not self.source_rate:
            self._ask(self.payloads.draw(self._rng), perf_counter())
        elif self._due <= perf_counter():
            type(self).arrived()
            if self._in_flight.full():
                self._give_up()
            else:
                self._in_flight.spawn(self._ask, self._next, self._due)
                gevent.sleep(0)  # it is sent now, not when the next one is drawn
            self._plan_next()

    def _plan_next(self) -> None:
        self._due += self._rng.exponential(1 / self.source_rate)
        self._next = self.payloads.draw(self._rng)  # drawn while there is time

    def _ask(self, request: Request, due: float) -> None:
        """Send and judge one request that was due at a time of perf_counter."""
        late = (perf_counter() - due) * 1_000
        counted: dict[str, int] = {}  # read by whoever hears of the request
        with self.client.post(
            "/score", data=request.body, headers=_HEADERS, catch_response=True, context=counted
        ) as response:
            response.request_meta["context"] = counted
            response.request_meta["response_time"] += late
            self.seen["late"] += late > LATE_MS
            if response.status_code == 0:  # no reply: Locust names the connection's error itself
                return
            verdict = judge(request, response.status_code, response.content or b"", self.payloads.tasks)
            if verdict.wrong:
                response.failure(verdict.wrong)
                return
            self.seen.update([f"model {verdict.model}", *(f"degraded {reason}" for reason in verdict.degraded)])
            self.seen["candidates"] += len(request.item_ids)
            counted["candidates"] = len(request.item_ids)

    def _give_up(self) -> None:
        error = RuntimeError(f"not sent: {_MOST_IN_FLIGHT} requests of this source wait for their replies")
        late = (perf_counter() - self._due) * 1_000
        self.environment.events.request.fire(
            request_type="POST", name="/score", response_time=late, response_length=0, exception=error, context={}
        )
