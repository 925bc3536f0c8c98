"""Experiments whose truth is known: users of different click rates and activity, read by the product's functions."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from service.experiments.config import Measure
from service.experiments.outcomes.moments import COLUMNS, Moments
from service.experiments.outcomes.sums import ArmSums, ExperimentSums
from service.experiments.readout.comparisons import compare
from service.experiments.readout.pairs import pair
from service.experiments.readout.ratio_check import check
from service.experiments.readout.ratios import METRICS
from service.experiments.readout.report import Comparison, Interval

CONTROL, ARM = "control", "arm"
_RATE = (0.6, 11.4)  # Beta: click rates of users, 5 % in the mean
_ACTIVITY = (1.5, 5.5)  # Gamma: exposures of users, about 9 in the mean
_POPULATION = 200_000  # users that stand for all
_UPPER = np.triu_indices(len(COLUMNS))
Matrix = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """How an experiment is run."""

    users: int = 8000  # of both arms
    looks: int = 20  # evenly
    measure: Measure = field(default_factory=lambda: Measure(effect=0.1))


@dataclass(frozen=True)
class Run:
    """What one experiment said; lists by look."""

    fixed: list[bool]  # significant in the test for one look
    always: list[bool]  # significant, peek-safe
    impressions: list[bool]  # significant in a test that takes exposures for independent
    fixed_covers: bool  # at the last look
    always_covers: bool  # at every look
    reduction: float  # of variance by CUPED


def runs(lift: float, plan: Plan, count: int, seed: int) -> Iterator[Run]:
    """Experiments with this true lift of the click rate."""
    rng = np.random.default_rng([seed, round(lift * 10_000)])
    for _ in range(count):
        yield _read(draw(rng, lift, plan.users), lift, plan)


def draw(rng: np.random.Generator, lift: float, users: int) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """Columns [users, len(COLUMNS)] in the order of arrival, and who is in the arm."""
    inside = rng.random(users) < 0.5
    rate, activity = rng.beta(*_RATE, users), rng.gamma(*_ACTIVITY, users)
    exposures, prior = 1 + rng.poisson(activity), rng.poisson(activity)
    columns = dict.fromkeys(COLUMNS, np.zeros(users, np.int64)) | {
        "users": np.ones(users, np.int64),
        "exposures": exposures,
        "clicks": rng.binomial(exposures, rate * np.where(inside, 1 + lift, 1)),
        "prior_exposures": prior,
        "prior_clicks": rng.binomial(prior, rate),
    }
    return np.stack([columns[name] for name in COLUMNS], axis=1), inside


def moments_of(columns: Matrix) -> Moments:
    """The exact moments of such columns."""
    return _moments(_gram(columns))


def power(lift: float, plan: Plan, seed: int) -> float:
    """Theory: the normal power of one look, with the errors of a very large population."""
    columns, inside = draw(np.random.default_rng([seed, 1]), lift, _POPULATION)
    both = pair(moments_of(columns[~inside]), moments_of(columns[inside]), METRICS["ctr"], prior=True)
    assert both is not None
    click_rate = _RATE[0] / sum(_RATE)
    shift = lift * click_rate / math.sqrt(both.difference_variance * _POPULATION / plan.users)
    normal = NormalDist()
    critical = normal.inv_cdf(1 - plan.measure.alpha / 2)
    return normal.cdf(shift - critical) + normal.cdf(-shift - critical)


def alarms(lost: float, users: int, count: int, seed: int) -> float:
    """Share of sample-ratio alarms where one of two even arms loses this share of its users."""
    rng = np.random.default_rng([seed, users])
    in_arm = rng.binomial(users, (1 - lost) / (2 - lost), count).tolist()
    return sum(_alarm(users - n, n) for n in in_arm) / count


def _alarm(control: int, arm: int) -> bool:
    arms = {CONTROL: _users(control), ARM: _users(arm)}
    sums = ExperimentSums(key="truth", phase=1, first=0, last=0, arms=arms)
    return check(sums, [CONTROL, ARM], 1, {1: {CONTROL: 5000, ARM: 5000}}).alarm


def _users(count: int) -> ArmSums:
    return ArmSums(moments=Moments(products=[count] + [0] * (len(_UPPER[0]) - 1)), versions={1: count})


def _read(drawn: tuple[Matrix, npt.NDArray[np.bool_]], lift: float, plan: Plan) -> Run:
    columns, inside = drawn
    control, arm = _looks(columns, ~inside, plan.looks), _looks(columns, inside, plan.looks)
    read = [_compare(a, b, plan) for a, b in zip(control, arm, strict=True)]
    return Run(
        fixed=[each.p_value is not None and each.p_value < plan.measure.alpha for each in read],
        always=[each.significant for each in read],
        impressions=[_impressions(a, b) < plan.measure.alpha for a, b in zip(control, arm, strict=True)],
        fixed_covers=_covers(read[-1].fixed, lift),
        always_covers=all(_covers(each.always, lift) for each in read),
        reduction=read[-1].variance_reduction or 0.0,
    )


def _compare(control: Moments, arm: Moments, plan: Plan) -> Comparison:
    return compare("ctr", {CONTROL: control, ARM: arm}, CONTROL, ARM, plan.measure, plan.measure.alpha)


def _covers(interval: Interval, lift: float) -> bool:
    """No interval promises nothing, and so holds."""
    return interval.low is None or interval.high is None or interval.low <= lift <= interval.high


def _looks(columns: Matrix, mask: npt.NDArray[np.bool_], looks: int) -> list[Moments]:
    """The moments of the masked users at each look."""
    parts = zip(np.array_split(columns, looks), np.array_split(mask, looks), strict=True)
    grams = [_gram(part[masked]) for part, masked in parts]
    return [_moments(gram) for gram in np.cumsum(grams, axis=0)]


def _gram(columns: Matrix) -> Matrix:
    exact = columns.astype(np.float64)  # whole numbers far below 2 ** 53, and BLAS is fast
    return (exact.T @ exact).astype(np.int64)


def _moments(gram: Matrix) -> Moments:
    return Moments(products=gram[_UPPER].tolist())


def _impressions(control: Moments, arm: Moments) -> float:
    """p of the two-proportion z-test over exposures, for contrast: users' exposures are not independent."""
    clicks, shown = zip(*((each.total("clicks"), each.total("exposures")) for each in (control, arm)), strict=True)
    rate = sum(clicks) / sum(shown)
    error = math.sqrt(rate * (1 - rate) * (1 / shown[0] + 1 / shown[1]))
    return 2 * NormalDist().cdf(-abs(clicks[0] / shown[0] - clicks[1] / shown[1]) / error) if error else 1.0
