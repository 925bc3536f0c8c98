"""Two arms: CUPED and relative lift == tea-tasting == scipy == by hand."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_ind
from tea_tasting.metrics.mean import RatioOfMeans

from service.experiments.outcomes.moments import Moments
from service.experiments.readout.aggregates import aggregates
from service.experiments.readout.intervals import (
    UNKNOWN,
    always_of_lift,
    always_of_sample,
    detectable,
    fixed_of_lift,
    fixed_of_sample,
    one_look,
    power_of,
)
from service.experiments.readout.pairs import Pair, pair
from service.experiments.readout.ratios import METRICS, Ratio, Sample
from service.experiments.readout.sequential import half_width
from tests.service.experiments.readout.users import Columns, draw, moments

FIRST, SECOND = draw(2500, seed=3), draw(2100, lift=0.1, seed=4)


def linear(columns: list[Columns], ratio: Ratio) -> list[np.ndarray]:
    """Users' shares in the ratio around that of all arms together, whose mean is the arm's ratio."""
    found = []
    for each in columns:
        above = each[ratio.numerator] / ratio.unit
        below = np.ones(len(above)) if ratio.denominator == "users" else each[ratio.denominator].astype(float)
        value = above.sum() / below.sum()
        found.append(value + (above - value * below) / below.mean())
    return found


def both(name: str, prior: bool) -> Pair:
    found = pair(moments(FIRST), moments(SECOND), METRICS[name], prior)
    assert found is not None
    return found


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("name", METRICS)
def test_means_and_errors_are_tea_tastings(name: str, prior: bool) -> None:
    found, ratio = both(name, prior), METRICS[name]
    old = ratio.prior.columns if found.cuped else (None, None)
    metric = RatioOfMeans(*ratio.columns, *old, use_t=False, equal_var=False)
    look = metric.analyze_aggregates(aggregates(moments(FIRST), ratio), aggregates(moments(SECOND), ratio))
    assert (found.control.mean, found.arm.mean) == pytest.approx((look.control, look.treatment), rel=1e-9)
    assert found.difference == pytest.approx(look.effect_size, rel=1e-9)
    assert found.lift == pytest.approx(look.rel_effect_size, rel=1e-9)
    error = (look.effect_size_ci_upper - look.effect_size) / norm.ppf(0.975)
    assert math.sqrt(found.difference_variance) == pytest.approx(error, rel=1e-9)


def test_cuped_is_the_regression_on_the_prior_ratio() -> None:
    found, ratio = both("ctr", True), METRICS["ctr"]
    after, before = linear([FIRST, SECOND], ratio), linear([FIRST, SECOND], ratio.prior)
    rates = [FIRST, SECOND]
    theta = _slope(rates, ratio)
    variances = [np.var(a - theta * b, ddof=1) / len(a) for a, b in zip(after, before, strict=True)]
    assert found.difference_variance == pytest.approx(sum(variances), rel=1e-9)
    plain = both("ctr", False)
    assert found.reduction == pytest.approx(1 - sum(variances) / plain.difference_variance, rel=1e-9)
    assert found.reduction is not None
    assert found.reduction > 0.05
    shift = theta * (before[1].mean() - before[0].mean())
    assert found.difference == pytest.approx(plain.difference - shift, rel=1e-9)


def _slope(arms: list[Columns], ratio: Ratio) -> float:
    """Of users' parts in both ratios, all arms in one."""
    one = {name: np.concatenate([arm[name] for arm in arms]) for name in arms[0]}
    (after,), (before,) = linear([one], ratio), linear([one], ratio.prior)
    covariance = np.cov(after, before)
    return float(covariance[0, 1] / covariance[1, 1])


def test_value_at_one_look_is_scipys_welch() -> None:
    look = one_look(moments(FIRST), moments(SECOND), METRICS["value"], False, 0.1)
    assert look is not None
    scipys = ttest_ind(SECOND["value"] / 1e6, FIRST["value"] / 1e6, equal_var=False)
    interval = scipys.confidence_interval(0.9)
    assert (look.pvalue, look.statistic) == pytest.approx((scipys.pvalue, scipys.statistic), rel=1e-9)
    assert (look.effect_size_ci_lower, look.effect_size_ci_upper) == pytest.approx(tuple(interval), rel=1e-9)


def test_ratio_at_one_look_is_scipys_welch_of_the_linear_parts() -> None:
    look = one_look(moments(FIRST), moments(SECOND), METRICS["ctr"], False, 0.05)
    assert look is not None
    first, second = linear([FIRST, SECOND], METRICS["ctr"])
    scipys = ttest_ind(second, first, equal_var=False)
    assert (look.pvalue, look.statistic) == pytest.approx((scipys.pvalue, scipys.statistic), rel=1e-9)


def test_lift_at_one_look_is_the_log_interval_by_hand() -> None:
    found = both("ctr", False)
    interval = fixed_of_lift(one_look(moments(FIRST), moments(SECOND), METRICS["ctr"], False, 0.05))
    parts = [each.variance / each.mean**2 for each in (found.control, found.arm)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2499 + parts[1] ** 2 / 2099)
    half = t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    expected = [math.exp(math.log1p(found.lift) + side * half) - 1 for side in (-1, 1)]
    assert [interval.low, interval.high] == pytest.approx(expected, rel=1e-9)


def test_lift_variance_is_the_delta_methods() -> None:
    found = Pair(Sample(0.05, 1e-6, 900), Sample(0.06, 2e-6, 800), False, None)
    expected = 2e-6 / 0.05**2 + 1e-6 * 0.06**2 / 0.05**4
    assert found.lift_variance == pytest.approx(expected, rel=1e-12)
    interval = always_of_lift(found, 4000, 0.05)
    half = half_width(expected, 1700, 4000, 0.05)
    assert (interval.low, interval.high) == pytest.approx((0.2 - half, 0.2 + half), rel=1e-12)


def test_no_cuped_without_a_prior_period_that_varies() -> None:
    no_prior = {name: column for name, column in FIRST.items() if not name.startswith("prior")}
    one_sided = pair(moments(no_prior), moments(SECOND), METRICS["ctr"], True)
    same = no_prior | {"prior_exposures": np.full(2500, 5), "prior_clicks": np.full(2500, 1)}
    constant = pair(moments(same), moments(same), METRICS["ctr"], True)
    assert one_sided is not None
    assert constant is not None
    assert not one_sided.cuped
    assert not constant.cuped


def test_a_prior_that_explains_all_is_not_used() -> None:
    same = {"exposures": FIRST["exposures"], "clicks": FIRST["clicks"]}
    same |= {"prior_exposures": FIRST["exposures"], "prior_clicks": FIRST["clicks"]}
    found = pair(moments(same), moments(same), METRICS["ctr"], True)
    assert found is not None
    assert not found.cuped


def test_nothing_to_compare_is_none() -> None:
    no_clicks = {"exposures": np.array([4, 5]), "clicks": np.array([0, 0])}
    same = {"exposures": np.array([10, 20]), "clicks": np.array([1, 2])}
    assert pair(Moments(), moments(SECOND), METRICS["ctr"], True) is None
    assert pair(moments(SECOND), moments(no_clicks), METRICS["ctr"], True) is None
    assert pair(moments(same), moments(same), METRICS["ctr"], True) is None


def test_intervals_of_little_data_are_unknown() -> None:
    small = Pair(Sample(0.05, 1e-5, 99), Sample(0.05, 1e-5, 5000), False, None)
    assert always_of_lift(small, 4000, 0.05) == UNKNOWN
    assert always_of_sample(Sample(0.05, 1e-3, 5000), 4000, 0.05) == UNKNOWN
    assert fixed_of_sample(Sample(0.05, 0.0, 5000), 0.05) == UNKNOWN


def test_a_rate_is_not_below_0_and_a_lift_not_below_minus_1() -> None:
    wide = Sample(0.05, 0.0124**2, 200)
    assert always_of_sample(wide, 4000, 0.001).low == 0
    assert always_of_lift(Pair(wide, wide, False, None), 4000, 1e-9).low == -1
    assert fixed_of_sample(Sample(0.05, 0.04**2, 200), 0.05).low == 0


def test_peek_safe_interval_of_an_arm_is_tuned_for_its_half_of_the_users() -> None:
    interval = always_of_sample(Sample(0.05, 1e-6, 900), 4000, 0.05)
    half = half_width(1e-6, 900, 2000, 0.05)
    assert (interval.low, interval.high) == pytest.approx((0.05 - half, 0.05 + half), rel=1e-12)


def test_fixed_interval_of_an_arm_is_students() -> None:
    interval = fixed_of_sample(Sample(0.05, 1e-6, 30), 0.05)
    assert (interval.low, interval.high) == pytest.approx(t.interval(0.95, 29, 0.05, 1e-3), rel=1e-12)


def test_power_and_detectable_are_each_others_inverse() -> None:
    found = both("ctr", True)
    assert power_of(found, detectable(found, 0.8, 0.05), 0.05) == pytest.approx(0.8, abs=1e-4)
    assert power_of(found, 0.0, 0.05) == pytest.approx(0.05, rel=1e-9)
    shift = 0.1 / math.sqrt(found.lift_variance)
    assert power_of(found, 0.1, 0.05) == pytest.approx(
        norm.sf(1.959963984540054 - shift) + norm.cdf(-1.959963984540054 - shift)
    )
