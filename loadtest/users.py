"""The Locust user: asks for scores, waits for the reply, judges it, asks again (a closed loop)."""

from collections import Counter
from itertools import count
from typing import ClassVar

import numpy as np
from locust import FastHttpUser, constant, task

from loadtest.payloads import Payloads
from loadtest.replies import judge

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class ScoringUser(FastHttpUser):
    """One connection, one request at a time, no pause."""

    host = "http://127.0.0.1:8000"
    wait_time = constant(0)
    network_timeout = connection_timeout = 10.0
    payloads: ClassVar[Payloads]  # set before the first user starts
    seen: ClassVar[Counter[str]] = Counter()  # candidates, model <name>, degraded <reason>
    _numbers: ClassVar["count[int]"] = count()

    def on_start(self) -> None:
        """Each user draws requests of its own."""
        self._rng = np.random.default_rng([self.payloads.seed, next(self._numbers)])

    @task
    def score(self) -> None:
        """POST /score once."""
        request = self.payloads.draw(self._rng)
        with self.client.post("/score", data=request.body, headers=_HEADERS, catch_response=True) as response:
            if response.status_code == 0:  # no reply: Locust names the connection's error itself
                return
            verdict = judge(request, response.status_code, response.content or b"", self.payloads.tasks)
            if verdict.wrong:
                response.failure(verdict.wrong)
                return
            self.seen.update([f"model {verdict.model}", *(f"degraded {reason}" for reason in verdict.degraded)])
            self.seen["candidates"] += len(request.item_ids)
