"""Intervals of a sample and of a lift: peek-safe by hand, at one look by scipy and tea-tasting."""

import math

from scipy.stats import norm, t
from tea_tasting.metrics.mean import MeanResult, RatioOfMeans

from service.experiments.outcomes.moments import Moments
from service.experiments.readout.aggregates import aggregates
from service.experiments.readout.pairs import Pair
from service.experiments.readout.ratios import Ratio, Sample
from service.experiments.readout.report import Interval
from service.experiments.readout.sequential import half_width

UNKNOWN = Interval(low=None, high=None)


def always_of_sample(sample: Sample, planned: float, alpha: float) -> Interval:
    """Peek-safe interval of one arm's mean."""
    if not sample.steady:
        return UNKNOWN
    return _around(sample.mean, half_width(sample.variance, sample.users, planned / 2, alpha))


def fixed_of_sample(sample: Sample, alpha: float) -> Interval:
    """Student's interval of one arm's mean."""
    if not sample.variance:
        return UNKNOWN
    return _around(sample.mean, float(t.ppf(1 - alpha / 2, sample.users - 1)) * math.sqrt(sample.variance))


def _around(mean: float, half: float) -> Interval:
    """Of a rate or a value, which are not below 0."""
    return Interval(low=max(mean - half, 0.0), high=mean + half)


def always_of_lift(pair: Pair, planned: float, alpha: float) -> Interval:
    """Peek-safe interval of the lift; a lift is never below -1."""
    if not pair.steady:
        return UNKNOWN
    half = half_width(pair.lift_variance, pair.users, planned, alpha)
    return Interval(low=max(pair.lift - half, -1.0), high=pair.lift + half)


def one_look(control: Moments, arm: Moments, ratio: Ratio, cuped: bool, alpha: float) -> MeanResult | None:
    """tea-tasting's answer: Welch's test of the difference by the delta method, and the lift on the log scale.

    For arms that `pairs.pair` could compare; None where the few users there are leave the lift beyond all numbers.
    """
    prior = ratio.prior.columns if cuped else (None, None)
    metric = RatioOfMeans(*ratio.columns, *prior, confidence_level=1 - alpha, equal_var=False, use_t=True)
    try:
        return metric.analyze_aggregates(aggregates(control, ratio), aggregates(arm, ratio))
    except OverflowError:
        return None


def fixed_of_lift(answer: MeanResult | None) -> Interval:
    """The lift's interval in tea-tasting's answer."""
    if answer is None or not math.isfinite(answer.rel_effect_size_ci_upper):
        return UNKNOWN
    return Interval(low=float(answer.rel_effect_size_ci_lower), high=float(answer.rel_effect_size_ci_upper))


def power_of(pair: Pair, effect: float, alpha: float) -> float:
    """To find a lift of `effect` at one look, with the errors of now."""
    shift = effect / math.sqrt(pair.lift_variance)
    critical = norm.ppf(1 - alpha / 2)
    return float(norm.cdf(shift - critical) + norm.cdf(-shift - critical))


def detectable(pair: Pair, power: float, alpha: float) -> float:
    """The smallest lift that one look would find with this power."""
    return float(norm.ppf(1 - alpha / 2) + norm.ppf(power)) * math.sqrt(pair.lift_variance)
