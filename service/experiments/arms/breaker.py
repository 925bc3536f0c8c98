"""A circuit breaker: an arm whose model keeps failing is not asked for a while, then by one request at a time."""

from collections.abc import Callable
from time import monotonic
from typing import Literal

State = Literal["closed", "half-open", "open"]
STATES: tuple[State, ...] = ("closed", "half-open", "open")  # from good to bad

CONSECUTIVE = 5  # failures one after the other that open it
WINDOW = 64  # requests of which half failed open it too
PAUSE_SECONDS, LONGEST_PAUSE = 5.0, 60.0  # until a probe; twice as long after each that failed
REFUSED = 0
_ALL = (1 << WINDOW) - 1


class Breaker:
    """Of one arm in one process. Who was let in says with its ticket how it went; what comes late is not believed."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0  # without a success between them
        self._recent = 0  # a bit a request, the newest lowest; 1: it failed
        self._seen = 0
        self._until: float | None = None  # open until then; None: closed
        self._pause = PAUSE_SECONDS
        self._probing = False
        self._epoch = 1  # a number that each change of state raises: the ticket

    @property
    def state(self) -> State:
        """As of now."""
        if self._until is None:
            return "closed"
        return "open" if self._clock() < self._until else "half-open"

    def allow(self) -> int:
        """A ticket for the arm's model, or REFUSED; in half-open one alone, until it is handed back."""
        if self._until is None:
            return self._epoch
        if self._probing or self._clock() < self._until:
            return REFUSED
        self._probing = True
        self._epoch += 1
        return self._epoch

    def succeeded(self, ticket: int) -> None:
        """The model answered in time."""
        if ticket != self._epoch:
            return
        if self._until is None:
            self._failures = 0
            self._note(0)
        else:
            self._close()

    def failed(self, ticket: int) -> None:
        """The model failed, or was too slow."""
        if ticket != self._epoch:
            return
        if self._until is not None:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._open()
            return
        self._failures += 1
        self._note(1)
        if self._failures >= CONSECUTIVE or (self._seen >= WINDOW and 2 * self._recent.bit_count() >= WINDOW):
            self._open()

    def left(self, ticket: int) -> None:
        """Neither: its caller hung up, or it was refused. The next one may probe."""
        if ticket == self._epoch:
            self._probing = False

    def _note(self, failed: int) -> None:
        self._recent = (self._recent << 1 | failed) & _ALL
        self._seen += 1

    def _open(self) -> None:
        self._until, self._probing = self._clock() + self._pause, False
        self._epoch += 1

    def _close(self) -> None:
        self._until, self._probing, self._pause = None, False, PAUSE_SECONDS
        self._failures = self._recent = self._seen = 0
        self._epoch += 1
