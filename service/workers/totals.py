"""Metrics of all workers as one page: counters and histograms are summed, gauges as each means."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from service.metrics import ACROSS_WORKERS

_GROWING = ("counter", "histogram", "summary")  # what outlives the worker that counted it
_Labels = tuple[tuple[str, str], ...]


@dataclass
class Family:
    """Samples of one name."""

    kind: str
    documentation: str
    samples: dict[tuple[str, _Labels], float] = field(default_factory=dict)

    def add(self, name: str, other: "Family") -> None:
        """Join the samples of another worker."""
        join = sum if other.kind in _GROWING else ACROSS_WORKERS.get(name, sum)
        for key, value in other.samples.items():
            self.samples[key] = join((self.samples[key], value)) if key in self.samples else value


Families = dict[str, Family]


def samples(registry: CollectorRegistry) -> bytes:
    """All that a registry shows now, for `Totals.note`."""
    found = [
        (family.name, family.type, family.documentation, [sample[:3] for sample in family.samples])
        for family in registry.collect()
    ]
    return json.dumps(found).encode()


class Totals:
    """What each worker told last, and what those that ended had counted: no counter goes back when one is replaced."""

    def __init__(self) -> None:
        self._last: dict[int, Families] = {}
        self._ended: Families = {}

    def note(self, worker: int, told: bytes) -> None:
        """Keep what a worker told of its metrics."""
        self._last[worker] = _parse(told)

    def retire(self, worker: int) -> None:
        """The worker has ended: keep what it counted, drop its gauges."""
        families = self._last.pop(worker, {})
        self._ended = _join([self._ended, {n: family for n, family in families.items() if family.kind in _GROWING}])

    def page(self, own: CollectorRegistry) -> bytes:
        """The exposition format; `own` are metrics of the parent."""
        joined = _join([*self._last.values(), _parse(samples(own)), self._ended])
        registry = CollectorRegistry()
        registry.register(_Page(joined))
        return generate_latest(registry)


class _Page(Collector):
    def __init__(self, families: Families) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            metric = Metric(name, family.documentation, family.kind)
            for (sample, labels), value in family.samples.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric


def _parse(told: bytes) -> Families:
    return {
        name: Family(kind, documentation, {(sample, tuple(labels.items())): value for sample, labels, value in found})
        for name, kind, documentation, found in json.loads(told)
    }


def _join(several: Iterable[Families]) -> Families:
    joined: Families = {}
    for families in several:
        for name, family in families.items():
            joined.setdefault(name, Family(family.kind, family.documentation)).add(name, family)
    return joined
