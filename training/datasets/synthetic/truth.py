"""True probabilities of a log. For each task, the logit of an impression is

    b + m main + f <u_user, v_item> + p pairs + d drift - c log(position)

where `main` sums an effect of every field, the dot product is of latent factors, `pairs` sums free tables over pairs
of fields (some shared by both tasks, some of one task alone), and `drift` is a random walk of each category over the
days. Each term is standardised on a pilot sample, so that m, f and p are the standard deviations that they give the
logit (d at the end of the log); b is found by bisection on it, so that clicks, and conversions given clicks, have the
wanted rates. The pilot is of the seed and the population, and never of the rows, which come in any number.
Main effects and drift are each task's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.datasets.synthetic.counters import normals, stream
from training.datasets.synthetic.population import PairTables
from training.datasets.synthetic.spec import Floats, Ints, Numbers, Spec

FACTORS = 8  # latent width
TASKS = ("click", "conversion")
POSITION_EFFECT = {"click": 0.5, "conversion": 0.1}
DRIFTING = "category"


@dataclass(frozen=True)
class Impressions:
    """What the truth depends on. Arrays of all fields broadcast to the shape of the impressions.

    Codes count from 1, 0 is missing; `position` counts from 1 too, `day` from 0.
    """

    codes: Mapping[str, Ints]
    numbers: Mapping[str, Numbers]
    affinity: Mapping[str, Numbers]  # <u_user, v_item> by task
    position: Ints
    day: Ints


def item_factors(seed: int, items: Ints) -> Floats:
    """Latent factors [n, FACTORS]."""
    return normals(stream(seed, "factors"), items, FACTORS)


def tastes(seed: int, users: Ints, rho: float) -> Floats:
    """Factors of users for clicking and for buying, whose correlation is rho: [n, 2, FACTORS]."""
    click, other = np.split(normals(stream(seed, "taste"), users, 2 * FACTORS), 2, axis=1)
    return np.stack([click, rho * click + np.sqrt(1 - rho**2) * other], axis=1)


@dataclass(frozen=True)
class Pair:
    """A free effect of each pair of values of two fields."""

    left: str
    right: str
    table: Floats  # [left ids + 1, right ids + 1]

    def of(self, log: Impressions) -> Floats:
        """The effect of each impression."""
        cells: Ints = log.codes[self.left] * self.table.shape[1] + log.codes[self.right]
        return self.table.ravel().take(cells)

    def times(self, factor: float) -> "Pair":
        """The effects made stronger or weaker."""
        return replace(self, table=factor * self.table)


@dataclass(frozen=True)
class _Task:
    """What the logit of a task is made of, strengths included."""

    name: str
    effects: dict[str, Floats]  # by field, [ids + 1]
    slopes: dict[str, float]  # by number
    affinity: float
    shared: float  # weight of the sum of the tables that tasks share
    pairs: list[Pair]
    drift: Floats | None  # [ids of DRIFTING + 1, days]
    bias: float = 0.0

    def logits(self, log: Impressions, shared: Floats) -> Floats:
        """The logit of each impression; `shared` is the sum of the tables that tasks share."""
        logits = self.shared * shared + self.affinity * log.affinity[self.name]
        logits += _main(self.effects, self.slopes, log)
        for pair in self.pairs:
            logits += pair.of(log)
        if self.drift is not None:
            logits += self.drift.ravel().take(log.codes[DRIFTING] * self.drift.shape[1] + log.day)
        logits += self.bias - POSITION_EFFECT[self.name] * np.log(log.position)
        return logits


class Truth:
    """Free tables of a seed, with the scales and biases that a pilot sample gives them."""

    def __init__(self, spec: Spec, sizes: Mapping[str, int], pairs: PairTables, pilot: Impressions) -> None:
        rng = np.random.default_rng(stream(spec.seed, "truth"))
        self.spec, self.sizes = spec, sizes
        self._shared = self._tables(rng, pairs["both"])
        shared, weights = _total(pair.of(pilot) for pair in self._shared), np.ones(())
        self._tasks: list[_Task] = []
        for name, rate in (("click", spec.click_rate), ("conversion", spec.conversion_rate)):
            task = self._drawn(rng, name, pairs, shared, pilot)
            logits = task.logits(pilot, shared)
            bias = _bias(logits, rate, np.broadcast_to(weights, logits.shape))
            self._tasks.append(replace(task, bias=bias))
            weights = sigmoid(logits + bias)

    def probabilities(self, log: Impressions) -> tuple[Floats, Floats]:
        """P(click) and P(conversion | click) of each impression."""
        shared = _total(pair.of(log) for pair in self._shared)
        click, conversion = (sigmoid(task.logits(log, shared)) for task in self._tasks)
        return click, conversion

    def _drawn(
        self, rng: np.random.Generator, name: str, pairs: PairTables, shared: Floats, pilot: Impressions
    ) -> _Task:
        """A task's free tables, scaled to the strengths asked for; no bias yet."""
        strengths = self.spec.effects
        effects = {field: rng.normal(size=size + 1) for field, size in self.sizes.items()}
        slopes = {field: float(rng.normal()) / _spread(values) for field, values in pilot.numbers.items()}
        main = strengths.main / _spread(_main(effects, slopes, pilot))
        own = self._tables(rng, pairs[name])
        together, alone = _weights(strengths.specific, len(pairs["both"]), len(own))
        pair = strengths.pairs / _spread(together * shared + alone * _total(table.of(pilot) for table in own))
        return _Task(
            name,
            effects={field: main * table for field, table in effects.items()},
            slopes={field: main * slope for field, slope in slopes.items()},
            affinity=strengths.factors / _spread(pilot.affinity[name]),
            shared=pair * together,
            pairs=[table.times(pair * alone) for table in own],
            drift=_walks(rng, self.sizes[DRIFTING] + 1, self.spec) if self.spec.drift else None,
        )

    def _tables(self, rng: np.random.Generator, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        return [Pair(a, b, rng.normal(size=(self.sizes[a] + 1, self.sizes[b] + 1))) for a, b in pairs]


def sigmoid(logits: Floats) -> Floats:
    """Probabilities of logits."""
    probabilities: Floats = 1 / (1 + np.exp(-logits))
    return probabilities


def _main(effects: Mapping[str, Floats], slopes: Mapping[str, float], log: Impressions) -> Floats:
    """Sum of an effect of each field's value."""
    terms: list[Numbers] = [table.take(log.codes[field]) for field, table in effects.items()]
    return _total([*terms, *(slope * log.numbers[field] for field, slope in slopes.items())])


def _total(terms: Iterable[Numbers]) -> Floats:
    """A sum, in place of the terms; those of one shape (requests, impressions) are put together, then broadcast."""
    by_shape: dict[tuple[int, ...], Numbers] = {}
    for term in terms:
        if term.shape in by_shape:
            by_shape[term.shape] += term
        else:
            by_shape[term.shape] = term
    total: Floats = np.zeros(())
    for part in sorted(by_shape.values(), key=np.size):
        total = total + part
    return total


def _weights(specific: float | None, shared: int, own: int) -> tuple[float, float]:
    """Weights of the sums of shared and of own tables that give the own ones this share of the variance."""
    return (1.0, 1.0) if specific is None else (((1 - specific) / shared) ** 0.5, (specific / own) ** 0.5)


def _walks(rng: np.random.Generator, ids: int, spec: Spec) -> Floats:
    """A random walk of each id over the days, 0 at first and of standard deviation `drift` at last: [ids, days]."""
    steps = rng.normal(size=(ids, spec.days)) * spec.drift / np.sqrt(max(1, spec.days - 1))
    steps[:, 0] = 0
    return np.cumsum(steps, axis=1)


def _spread(values: Numbers) -> float:
    """Standard deviation; 1 where there is none but of rounding."""
    spread = float(values.std())
    return spread if spread > 1e-6 else 1.0


def _bias(logits: Floats, rate: float, weights: Floats) -> float:
    """What makes the weighted mean probability `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if np.average(sigmoid(logits + middle), weights=weights) < rate else (low, middle)
    return low
