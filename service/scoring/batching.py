"""Several requests share one run: what waits goes the moment the engine is free; there is no window to wait for."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from service.errors import OVERLOADED, ServiceProblem
from service.metrics import Metrics
from service.scoring.engine import Engine, Scores
from service.scoring.inputs import Inputs, merge


@dataclass(frozen=True, slots=True)
class Job:
    """One request that waits for the engine."""

    inputs: Inputs
    scores: "asyncio.Future[Scores]"
    queued: float


class Batcher:
    """Feeds one engine from one thread; lives on the event loop."""

    def __init__(self, name: str, engine: Engine, metrics: Metrics, max_batch_rows: int, max_waiting_rows: int) -> None:
        self._engine, self._metrics = engine, metrics
        self._max_batch_rows, self._max_waiting_rows = max_batch_rows, max_waiting_rows
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"engine-{name}")
        self._waiting: deque[Job] = deque()
        self._busy = False
        self.waiting_rows = 0
        self._batch_rows = metrics.batch_rows.labels(name).observe
        self._batch_requests = metrics.batch_requests.labels(name).observe
        metrics.watch_queue(name, lambda: self.waiting_rows)

    async def score(self, inputs: Inputs) -> Scores:
        """Scores of one request; a problem where too much waits already."""
        if self._waiting and self.waiting_rows + len(inputs) > self._max_waiting_rows:
            raise ServiceProblem(
                OVERLOADED, f"{self.waiting_rows} candidates wait for the model; try again in a moment"
            )
        job = Job(inputs, asyncio.get_running_loop().create_future(), perf_counter())
        self._waiting.append(job)
        self.waiting_rows += len(inputs)
        if not self._busy:
            self._dispatch()
        return await job.scores

    def close(self) -> None:
        """Stop the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        rows = 0
        while self._waiting and (not jobs or rows + len(self._waiting[0].inputs) <= self._max_batch_rows):
            job = self._waiting.popleft()
            self.waiting_rows -= len(job.inputs)
            if not job.scores.done():  # its caller may have left
                jobs.append(job)
                rows += len(job.inputs)
        return jobs

    def _dispatch(self) -> None:
        jobs = self._take()
        self._busy = bool(jobs)
        if jobs:
            started = perf_counter()
            for job in jobs:
                self._metrics.stage["queue"](started - job.queued)
            run = asyncio.get_running_loop().run_in_executor(self._executor, self._run, [job.inputs for job in jobs])
            run.add_done_callback(partial(self._finish, jobs))

    def _run(self, requests: Sequence[Inputs]) -> tuple[Scores, float]:
        started = perf_counter()
        return self._engine.run(merge(requests)), perf_counter() - started

    def _finish(self, jobs: Sequence[Job], done: "asyncio.Future[tuple[Scores, float]]") -> None:
        self._dispatch()  # the engine first, then the replies
        waiting = [job for job in jobs if not job.scores.done()]
        if error := asyncio.CancelledError() if done.cancelled() else done.exception():
            for job in waiting:
                job.scores.set_exception(error)
            return
        scores, seconds = done.result()
        self._batch_rows(sum(len(job.inputs) for job in jobs))
        self._batch_requests(len(jobs))
        start = 0
        for job in jobs:
            stop = start + len(job.inputs)
            if not job.scores.done():
                self._metrics.stage["run"](seconds)
                job.scores.set_result({task: column[start:stop] for task, column in scores.items()})
            start = stop
