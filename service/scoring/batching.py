"""Several requests share one run: what waits goes the moment an engine thread is free; there is no window."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from heapq import heappop, heappush
from itertools import count
from math import ceil, inf
from pathlib import Path
from time import perf_counter

from service.errors import NOT_READY, ServiceProblem
from service.metrics import Metrics
from service.scoring.admission import Admission, Place
from service.scoring.engine import Engine, Scores
from service.scoring.inputs import Inputs, merge
from service.scoring.jobs import Job, Part, Run

SMALLEST_PART = 128  # rows; 200 cut in two took more CPU, and no less time unless a core was idle
MOST_SPARE = 8  # jobs that may wait for an engine with nothing else to do
_STOP_SECONDS = 1.0


class Batcher:
    """Feeds one engine from as many threads as it takes. They pull their work, so that a busy event loop delays no run.

    The lock guards what both sides write: the heap, the spare jobs, and `taken` and `open` of a place. All else belongs
    to the loop. Spare jobs are in nobody's way: they count for no admission, share no run, and go in small parts, one
    at a time, while nothing else waits.
    """

    def __init__(self, name: str, engine: Engine, metrics: Metrics, max_batch_rows: int, max_waiting_rows: int) -> None:
        self._engine, self._metrics = engine, metrics
        self._run_rows = min(engine.best_rows, max_batch_rows)
        self._admission = Admission(engine.parallel, self._run_rows, max_waiting_rows, metrics)
        self._work = threading.Condition(threading.Lock())
        self._heap: list[tuple[float, int, Job]] = []  # by turn
        self._numbers = count()  # of jobs, for those of one turn
        self._spare: deque[Job] = deque()
        self._sparing = False  # a part of the first of them runs
        self._free = engine.parallel
        self._taken_rows = self._finished_rows = 0  # ever
        self._closed = False
        self._batch_rows = metrics.batch_rows.labels(name).observe
        self._batch_requests = metrics.batch_requests.labels(name).observe
        metrics.watch_queue(name, lambda: self.waiting_rows)
        self._threads = [
            threading.Thread(target=self._serve, name=f"engine-{name}-{i}", daemon=True) for i in range(engine.parallel)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting_rows(self) -> int:
        """Candidates of admitted requests that no engine thread took yet."""
        return self._admission.rows - (self._taken_rows - self._finished_rows)

    @contextmanager
    def admit(self, rows: int, deadline: float = inf) -> Iterator[Place]:
        """A place in the queue while the block lasts; a problem where there is none, or none in time."""
        if self._closed:
            raise _closing()
        place = self._admission.reserve(rows, deadline, self.waiting_rows)
        try:
            yield place
        finally:
            with self._work:
                place.open = False
            self._admission.release(place, rows - place.taken)

    async def score(self, inputs: Inputs, place: Place | None = None) -> Scores:
        """Scores of one request, in the place it was given or, without, in one of its own."""
        if place is None:
            with self.admit(len(inputs)) as own:
                return await self.score(inputs, own)
        job = Job(inputs, place, asyncio.get_running_loop().create_future(), perf_counter())
        with self._work:
            if self._closed:
                raise _closing()
            heappush(self._heap, (place.order, next(self._numbers), job))
            if self._free:
                self._work.notify(ceil(place.rows / SMALLEST_PART))
        return await job.scores

    def offer(self, inputs: Inputs) -> Job | None:
        """Scores, once the engine has nothing else to do; None where that is not in sight: something else waits."""
        place = Place(len(inputs), inf, inf)
        job = Job(inputs, place, asyncio.get_running_loop().create_future(), perf_counter(), spare=True)
        with self._work:
            if self._closed or self._heap or len(self._spare) >= MOST_SPARE:
                return None
            self._spare.append(job)
            if self._free:
                self._work.notify()
        return job

    def close(self) -> None:
        """Refuse what waits, and stop the threads once their runs have ended."""
        with self._work:
            self._closed = True
            jobs = [*(job for _, _, job in self._heap), *self._spare]
            self._heap.clear()
            self._spare.clear()
            self._work.notify_all()
        for job in jobs:
            job.fail(_closing())
        for thread in self._threads:
            thread.join(_STOP_SECONDS)

    def _serve(self) -> None:
        """One engine thread."""
        _name_for_the_kernel(threading.current_thread().name)
        while parts := self._next():
            started = perf_counter()
            try:
                outcome: Scores | Exception = self._engine.run(merge([part.inputs for part in parts]))
            except Exception as error:  # its callers get it
                outcome = error
            run = Run(parts, started, perf_counter(), outcome)
            with self._work:
                self._free += 1
                self._sparing = self._sparing and not run.spare
            with suppress(RuntimeError):  # the loop has ended, and nobody waits
                parts[0].job.scores.get_loop().call_soon_threadsafe(self._finish, run)

    def _next(self) -> list[Part]:
        """Wait for work and take it; nothing where the batcher was closed."""
        with self._work:
            while not self._closed:
                if parts := self._take() or self._take_spare():
                    self._free -= 1
                    return parts
                self._work.wait()
        return []

    def _take(self) -> list[Part]:
        """What goes into the next run, by turn; what is shared evenly by the threads that are free."""
        parts: list[Part] = []
        room = self._room()
        now = perf_counter()
        while room and self._heap:
            job = self._heap[0][2]
            place = job.place
            if not place.open or place.deadline < now:
                self._drop(job)
                continue
            left = place.rows - place.taken
            if left > room and parts:
                break
            rows = ceil(left / max(1, ceil(left / room)))  # the same for each part
            parts.append(Part(job, place.taken, place.taken + rows))
            place.taken += rows
            self._taken_rows += rows
            if place.taken == place.rows:
                heappop(self._heap)
            room -= rows
        return parts

    def _take_spare(self) -> list[Part]:
        """A small part of what nobody waits for; the heap is empty."""
        if self._sparing or not self._spare:
            return []
        job = self._spare[0]
        place, start = job.place, job.place.taken
        left = place.rows - start
        place.taken += ceil(left / ceil(left / min(SMALLEST_PART, self._run_rows)))
        if place.taken == place.rows:
            self._spare.popleft()
        self._sparing = True
        return [Part(job, start, place.taken)]

    def _room(self) -> int:
        """Rows of the next run, at most."""
        if self._free < 2:
            return self._run_rows
        waiting = sum(job.place.rows - job.place.taken for _, _, job in self._heap)
        shares = max(1, min(self._free, waiting // SMALLEST_PART))
        return min(self._run_rows, ceil(waiting / shares))

    def _drop(self, job: Job) -> None:
        heappop(self._heap)
        if job.place.open:
            job.place.open = False
            job.scores.get_loop().call_soon_threadsafe(self._expire, job)

    def _expire(self, job: Job) -> None:
        if not job.scores.done():
            job.scores.set_exception(self._admission.expired(job.place))

    def _finish_spare(self, run: Run) -> None:
        (part,) = run.parts
        job = part.job
        if isinstance(run.outcome, Exception):
            with self._work, suppress(ValueError):  # its other parts
                self._spare.remove(job)
            job.fail(run.outcome)
            return
        job.place.done += run.rows
        job.place.ran += run.ended - run.started
        job.parts.append((part.start, run.outcome))
        if job.place.done == job.place.rows and not job.scores.done():
            job.scores.set_result(job.joined())

    def _finish(self, run: Run) -> None:
        """On the loop: the scores of a run to those who wait for them."""
        if run.spare:
            self._finish_spare(run)
            return
        self._finished_rows += run.rows
        if isinstance(run.outcome, Exception):
            for part in run.parts:
                self._admission.finished(part.job.place, part.stop - part.start)
                part.job.fail(run.outcome)
            return
        self._batch_rows(run.rows)
        self._batch_requests(len(run.parts))
        self._admission.observe(run.rows, run.ended - run.started)
        first = 0
        for part in run.parts:
            last = first + part.stop - part.start
            self._finish_part(part, run, {task: column[first:last] for task, column in run.outcome.items()})
            first = last

    def _finish_part(self, part: Part, run: Run, scores: Scores) -> None:
        job = part.job
        self._admission.finished(job.place, part.stop - part.start)
        job.started = min(job.started, run.started)
        job.parts.append((part.start, scores))
        if job.place.done == job.place.rows and not job.scores.done():
            self._metrics.stage["queue"](job.started - job.queued)
            job.place.ran = run.ended - job.started
            self._metrics.stage["run"](job.place.ran)
            job.scores.set_result(job.joined())


def _closing() -> ServiceProblem:
    return ServiceProblem(NOT_READY, "the service is shutting down")


def _name_for_the_kernel(name: str) -> None:
    """So that top and /proc tell engine threads from others; Python itself does so from 3.14 on."""
    with suppress(OSError):
        Path("/proc/thread-self/comm").write_text(name[:15])
