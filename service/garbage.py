"""Python's cyclic collector while serving: it leaves out what is loaded, and its pauses are counted.

Its thresholds stay as they are: a request frees what it made without it, so that it runs about once in a hundred
requests, over the little that came after loading.
"""

import gc
from collections.abc import Iterator
from time import perf_counter

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

GENERATIONS = 3


class Garbage(Collector):
    """Watches the collector from `settle` to `release`.

    It counts in plain numbers: a collection may begin while a metric holds its lock, and would wait for it for ever.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts, self._seconds, self._longest = [0] * GENERATIONS, [0.0] * GENERATIONS, 0.0
        self._began = 0.0
        self._settled = False
        registry.register(self)

    def settle(self) -> None:
        """Collect once more, then leave all that is here out of later collections."""
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._note)
        self._settled = True

    def release(self) -> None:
        """Give it back, so that it can be freed."""
        if self._settled:
            gc.callbacks.remove(self._note)
            gc.unfreeze()
            self._settled = False

    def collect(self) -> Iterator[SummaryMetricFamily | GaugeMetricFamily]:
        """For /metrics."""
        pauses = SummaryMetricFamily("twinscore_gc_seconds", "Pauses by Python's collector", labels=["generation"])
        for generation in range(GENERATIONS):
            pauses.add_metric([str(generation)], self._counts[generation], self._seconds[generation])
        yield pauses
        yield GaugeMetricFamily("twinscore_gc_longest_seconds", "The longest of these pauses", self._longest)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        seconds, generation = perf_counter() - self._began, info["generation"]
        self._counts[generation] += 1
        self._seconds[generation] += seconds
        self._longest = max(self._longest, seconds)
