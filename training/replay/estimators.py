"""Value of a policy from another policy's log: IPS, SNIPS and DR, each with its standard error.

A round is one shown item: its reward r, the probability p with which the logging policy showed it, and the probability
e with which the evaluated one would have. Weights are w = e / p. Rounds of one cluster (a slate) depend on each other;
standard errors are of clusters.
"""

from dataclasses import dataclass
from math import hypot, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError

_Z = 1.959963984540054
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rounds:
    """What was logged: arrays [n]; `cluster` numbers them from 0."""

    reward: Array
    propensity: Array
    cluster: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.reward):
            raise DataError("no rounds to replay")
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise DataError("a propensity outside (0, 1]: the log does not say how probable what it shows was")


@dataclass(frozen=True)
class Estimate:
    """A value with a 95 % interval, and how much of the log stands behind it."""

    value: float
    error: float
    effective: float  # sample size, (sum w)^2 / sum w^2 (Kish)
    largest: float  # weight
    low: float
    high: float


def ips(rounds: Rounds, evaluated: Array) -> Estimate:
    """Inverse propensity scoring (Horvitz and Thompson 1952): mean of w r. Unbiased where e > 0 implies p > 0."""
    weight = evaluated / rounds.propensity
    value, error = _mean(weight * rounds.reward, rounds.cluster)
    return _estimate(value, error, weight)


def snips(rounds: Rounds, evaluated: Array) -> Estimate:
    """Self-normalised IPS (Swaminathan and Joachims 2015): sum w r / sum w; its error by the delta method."""
    weight = evaluated / rounds.propensity
    if not weight.sum():
        return Estimate(nan, nan, 0.0, 0.0, 0.0, 1.0)
    value = float(weight @ rounds.reward / weight.sum())
    _, error = _mean(weight * (rounds.reward - value) / weight.mean(), rounds.cluster)
    return _estimate(value, error, weight)


def doubly_robust(rounds: Rounds, evaluated: Array, predicted: Array, baseline: Array) -> Estimate:
    """DR (Dudik et al. 2011): mean of baseline + w (r - predicted).

    `predicted` [n] is the model's reward of what was shown, `baseline` [n] its mean over what e would have shown. The
    model must not have seen these rounds.
    """
    weight = evaluated / rounds.propensity
    value, error = _mean(baseline + weight * (rounds.reward - predicted), rounds.cluster)
    return _estimate(value, error, weight)


def _mean(terms: Array, cluster: NDArray[np.int64]) -> tuple[float, float]:
    """Mean of the terms, and its standard error over clusters of any size."""
    mean = float(terms.mean())
    sums = np.bincount(cluster, terms - mean)
    clusters = len(sums)
    if clusters < 2:
        return mean, float("nan")
    return mean, sqrt(float(sums @ sums) * clusters / (clusters - 1)) / len(terms)


def _estimate(value: float, error: float, weight: Array) -> Estimate:
    """With the wider of two intervals: the normal one, and Wilson's for a rate among so many effective rounds.

    A standard error knows only the clicks that were logged: where none was, it is 0, and the normal interval a point.
    """
    squares = float(weight @ weight)
    effective = float(weight.sum()) ** 2 / squares if squares else 0.0
    low, high = wilson(value, effective)
    return Estimate(
        value, error, effective, float(weight.max()), min(low, value - _Z * error), max(high, value + _Z * error)
    )


def wilson(rate: float, rounds: float) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a rate, which is first brought into [0, 1], among so many rounds."""
    rate = min(max(rate, 0.0), 1.0)
    centre = rate * rounds + _Z**2 / 2
    half = _Z * sqrt(rate * (1 - rate) * rounds + _Z**2 / 4)
    return (centre - half) / (rounds + _Z**2), (centre + half) / (rounds + _Z**2)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Of two independent estimates; the distances of the ends from the values add up as errors do (Newcombe 1998)."""
    value = one.value - other.value
    below = hypot(one.value - one.low, other.high - other.value)
    above = hypot(one.high - one.value, other.value - other.low)
    error = hypot(one.error, other.error)
    largest = max(one.largest, other.largest)
    return Estimate(value, error, one.effective + other.effective, largest, value - below, value + above)
