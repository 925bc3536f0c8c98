"""Users of an experiment as columns, and the sums that the outcomes would have of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from service.experiments.config import Arm, Experiment, Measure
from service.experiments.log.records import MICROS
from service.experiments.outcomes.moments import COLUMNS, Moments
from service.experiments.outcomes.sums import ArmSums, ExperimentSums

Columns = dict[str, npt.NDArray[np.int64]]
NOW = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
DAY = 86_400_000


def draw(count: int, lift: float = 0.0, seed: int = 1) -> Columns:
    """Users of different click rates and activity; value follows conversions."""
    rng = np.random.default_rng([seed, count])
    rate, activity = rng.beta(1, 12, count), rng.gamma(2.0, 4.0, count)
    exposures, prior = 1 + rng.poisson(activity), rng.poisson(activity)
    clicks, prior_clicks = rng.binomial(exposures, np.minimum(rate * (1 + lift), 1)), rng.binomial(prior, rate)
    conversions, prior_conversions = rng.binomial(clicks, 0.3), rng.binomial(prior_clicks, 0.3)
    return {
        "exposures": exposures,
        "clicks": clicks,
        "conversions": conversions,
        "value": conversions * rng.integers(1, 40, count) * MICROS // 4,
        "predicted": exposures * 80_000,
        "prior_exposures": prior,
        "prior_clicks": prior_clicks,
        "prior_conversions": prior_conversions,
        "prior_value": prior_conversions * rng.integers(1, 40, count) * MICROS // 4,
    }


def moments(columns: Mapping[str, npt.NDArray[np.int64]]) -> Moments:
    """Exact moments; columns that are not given are 0."""
    count = len(next(iter(columns.values())))
    matrix = np.zeros((count, len(COLUMNS)), dtype=object)
    matrix[:, 0] = 1
    for name, column in columns.items():
        matrix[:, COLUMNS.index(name)] = [int(value) for value in column]
    gram = matrix.T @ matrix
    pairs = combinations_with_replacement(range(len(COLUMNS)), 2)
    return Moments(products=[int(gram[i, j]) for i, j in pairs]) if count else Moments()


def experiment(*arms: str, weights: Sequence[int] = (), **more: object) -> Experiment:
    """Arms of even weight, the first being the control."""
    names = arms or ("ple", "dtn")
    weights = weights or [10_000 // len(names)] * len(names)
    measure = more.pop("measure", Measure(effect=0.05))
    listed = [Arm(name=name, weight=weight) for name, weight in zip(names, weights, strict=True)]
    return Experiment.model_validate(
        {"key": "dtn-vs-ple", "slots": ((0, 10_000),), "arms": listed, "measure": measure} | more
    )


def sums(
    days: float = 10, phase: int = 1, arms: Mapping[str, ArmSums] | None = None, **named: ArmSums
) -> ExperimentSums:
    """A phase that began so many days before NOW."""
    last, arms = int(NOW * 1000), {**(arms or {}), **named}
    measure, first = Measure(effect=0.05), last - int(days * DAY)
    return ExperimentSums(key="dtn-vs-ple", phase=phase, measure=measure, first=first, last=last, arms=arms)


def counted(columns: Columns, **more: object) -> ArmSums:
    """An arm of these users, all first met in version 1."""
    found = moments(columns)
    return ArmSums.model_validate({"moments": found, "versions": {1: found.total("users")}} | more)
