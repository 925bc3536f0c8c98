"""Which requests are let in: room is reserved before any work is done, and what cannot be served in time is refused."""

from dataclasses import dataclass
from math import ceil, inf
from time import perf_counter

from service.errors import INVALID_REQUEST, OVERLOADED, ServiceProblem
from service.metrics import DEADLINE, EXPIRED, QUEUE_FULL, Metrics

DEADLINE_HEADER = "X-Deadline-Ms"
SIZE_FACTOR = 16.0  # at 10 microseconds a row, 1,000 rows let others pass for 160 ms
_KEPT = 0.95  # of the estimate, at each run: it follows the last twenty or so
_FIXED_SHARE = 8  # a run costs its rows and, whatever their number, about as much as best_rows / 8 of them


@dataclass(slots=True, eq=False)
class Place:
    """Room for one request, from its admission until its last candidate has run or it was dropped."""

    rows: int
    order: float  # the smaller, the earlier its turn
    deadline: float  # by perf_counter
    taken: int = 0  # rows that an engine thread took
    done: int = 0  # rows that ran
    ran: float = 0.0  # seconds in the engine, once all have
    open: bool = True  # False: its caller has left, or has been answered


class Admission:
    """Counts the candidates of one model's requests and estimates their time; lives on the event loop.

    A request's turn is its arrival + SIZE_FACTOR x the time its rows take: equal ones go first come, first served; one
    of 10 candidates overtakes those of 1,000 that came shortly before. The turn is fixed at arrival, so that whatever
    keeps coming, a large request is overtaken for SIZE_FACTOR x its own time and no longer: nothing starves.
    """

    def __init__(self, parallel: int, run_rows: int, max_waiting_rows: int, metrics: Metrics) -> None:
        self._parallel, self._run_rows, self._max_waiting_rows = parallel, run_rows, max_waiting_rows
        self._shed = metrics.shed
        self._fixed = run_rows / _FIXED_SHARE
        self._places: set[Place] = set()
        self._seconds = self._weight = 0.0  # of the last runs, fading
        self.rows = 0  # in look-up, waiting or running

    def reserve(self, rows: int, deadline: float, waiting: int) -> Place:
        """A place for this many candidates; a problem where `waiting` ones fill the queue, or the deadline is near."""
        now = perf_counter()
        place = Place(rows, now + SIZE_FACTOR * rows * self._seconds_a_row, deadline)
        if waiting and waiting + rows > self._max_waiting_rows:
            raise self._refusal(QUEUE_FULL, f"{waiting} candidates wait for the model")
        if not self._in_time(place, now):
            left = (
                f"its deadline is {ceil(1000 * (deadline - now))} ms away" if deadline > now else "its deadline passed"
            )
            raise self._refusal(DEADLINE, f"{self.rows} candidates came before this request and {left}")
        self._places.add(place)
        self.rows += rows
        return place

    def finished(self, place: Place, rows: int) -> None:
        """This many candidates of a place ran."""
        place.done += rows
        self.rows -= rows

    def release(self, place: Place, rows: int) -> None:
        """End a place; this many of its candidates will not run."""
        self._places.discard(place)
        self.rows -= rows

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from a run."""
        self._seconds = _KEPT * self._seconds + seconds
        self._weight = _KEPT * self._weight + rows + self._fixed

    def expired(self, place: Place) -> ServiceProblem:
        """The problem of a request that was let in, and whose deadline passed before an engine was free."""
        late = ceil(1000 * (perf_counter() - place.deadline))
        return self._refusal(EXPIRED, f"the deadline of this request passed {late} ms ago, before its turn came")

    @property
    def _seconds_a_row(self) -> float:
        return self._seconds / self._weight if self._weight else 0.0  # 0 until the first run

    def _needed(self, rows: int) -> float:
        """Seconds until so many rows have run."""
        return self._seconds_a_row * (rows + self._fixed * ceil(rows / self._run_rows)) / self._parallel

    def _in_time(self, place: Place, now: float) -> bool:
        left = place.deadline - now
        if left <= 0:
            return False
        # with nothing to wait for it is let in: an estimate that went wrong is mended by runs alone
        if not self.rows or self._needed(self.rows + place.rows) <= left:
            return True
        before = sum(other.rows - other.done for other in self._places if other.order < place.order)
        return self._needed(before + place.rows) <= left

    def _refusal(self, reason: str, detail: str) -> ServiceProblem:
        self._shed[reason]()
        seconds = max(1, ceil(self._needed(self.rows)))
        return ServiceProblem(OVERLOADED, f"{detail}; try again in {seconds} s", retry_after=seconds)


def deadline(header: str | None, default_ms: int, arrival: float) -> float:
    """When a request's reply is of no more use, by perf_counter; a problem where the header is no positive number."""
    if header is None:
        return arrival + default_ms / 1000 if default_ms else inf
    if not (header.isascii() and header.isdigit() and len(header) < 10 and int(header)):
        raise ServiceProblem(
            INVALID_REQUEST, f"{DEADLINE_HEADER}: a positive number of milliseconds, not '{header[:64]}'"
        )
    return arrival + int(header) / 1000
