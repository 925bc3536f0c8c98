"""Outcomes of all runs, put together: means over seeds, and differences to the baseline."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from statistics import mean, median, stdev

import numpy as np

from training.benchmark.comparison import Difference, Influence, difference, influence, seed_interval
from training.benchmark.runs import Outcome, Scores
from training.benchmark.targets import Target


class Results:
    """What ended, by entry and seed; `read` gives the predictions of a run on the test rows."""

    def __init__(
        self,
        outcomes: Mapping[str, Sequence[Outcome]],
        targets: Sequence[Target],
        baseline: str,
        read: Callable[[Outcome], Scores],
    ) -> None:
        self.targets, self.baseline, self.read = targets, baseline, read
        self.done = {name: [o for o in found if not o.error] for name, found in outcomes.items()}
        self.failed = [outcome for found in outcomes.values() for outcome in found if outcome.error]
        self._moved: dict[tuple[str, str, tuple[int, ...]], Influence] = {}

    @cached_property
    def names(self) -> list[str]:
        """Entries with a run that ended well, best first by their first metrics' mean rank over the targets."""
        there = [name for name, found in self.done.items() if found]
        ranks = dict.fromkeys(there, 0.0)
        for target in self.targets:
            sign = -1 if target.binary else 1
            order = sorted(there, key=lambda name: sign * (self.mean(name, target, first_metric(target)) or 0.0))
            for rank, name in enumerate(order):
                ranks[name] += rank
        return sorted(there, key=lambda name: ranks[name])

    def values(self, name: str, target: Target, metric: str) -> list[float]:
        """One a seed, where defined; `share` is that of the oracle's lift."""
        found = [
            o.share.get(target.name) if metric == "share" else o.metrics[target.name].get(metric)
            for o in self.done[name]
        ]
        return [value for value in found if value is not None]

    def mean(self, name: str, target: Target, metric: str) -> float | None:
        """Over seeds."""
        values = self.values(name, target, metric)
        return mean(values) if values else None

    def shown(self, name: str, target: Target, metric: str, digits: int = 4) -> str:
        """Mean ± standard deviation over seeds."""
        values = self.values(name, target, metric)
        if not values:
            return "–"
        return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")

    def typical(self, name: str, field: str) -> float | None:
        """Median over seeds of a number of the outcome."""
        values = [value for o in self.done[name] if (value := getattr(o, field)) is not None]
        return median(values) if values else None

    def gain(self, name: str, target: Target) -> tuple[float, float] | None:
        """In share of the oracle's lift over the baseline: mean of pairs, half of its interval over seeds."""
        own, base = ({o.seed: o.share.get(target.name) for o in self.done.get(n, [])} for n in (name, self.baseline))
        pairs = [a - b for seed, a in own.items() if a is not None and (b := base.get(seed)) is not None]
        return (mean(pairs), seed_interval(pairs)) if pairs and name != self.baseline else None

    def difference(self, name: str, target: Target) -> Difference | None:
        """To the baseline, over the seeds that both have; None where that is none."""
        metric = first_metric(target)
        own, base = (
            {o.seed: o.metrics[target.name].get(metric) for o in self.done.get(n, [])} for n in (name, self.baseline)
        )
        seeds = tuple(s for s in sorted(own) if own[s] is not None and base.get(s) is not None)
        if name == self.baseline or not seeds:
            return None
        moved = self._influence(name, target, seeds) - self._influence(self.baseline, target, seeds)
        return difference([own[s] or 0.0 for s in seeds], [base[s] or 0.0 for s in seeds], moved, target)

    def _influence(self, name: str, target: Target, seeds: tuple[int, ...]) -> Influence:
        """Mean over these seeds of how far each row moves the metric: that of the seeds' mean."""
        key = (name, target.name, seeds)
        if key not in self._moved:
            chosen = [o for o in self.done[name] if o.seed in seeds]
            self._moved[key] = np.mean([influence(target, self.read(o)) for o in chosen], axis=0)
        return self._moved[key]


def first_metric(target: Target) -> str:
    """What models are compared by."""
    return "auc" if target.binary else "rmse"


def verdict(target: Target, found: Difference) -> str:
    """In a word or two, noise of rows and seeds considered."""
    if found.noise:
        return "within noise"
    return "better" if (found.mean > 0) == target.binary else "worse"
