"""Times the stages of a request."""

from time import perf_counter

from service.metrics import Metrics


class Stopwatch:
    """Observes the time since the last lap."""

    def __init__(self, metrics: Metrics) -> None:
        self._stage, self.last = metrics.stage, perf_counter()

    def lap(self, stage: str | None) -> None:
        """End a stage; None where somebody else times it."""
        now = perf_counter()
        if stage:
            self._stage[stage](now - self.last)
        self.last = now
