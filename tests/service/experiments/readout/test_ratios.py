"""One arm: exact delta-method errors against numpy and against a bootstrap of its definition."""

import numpy as np
import pytest

from service.experiments.outcomes.moments import Moments
from service.experiments.readout.aggregates import aggregates
from service.experiments.readout.ratios import CALIBRATION, METRICS, Ratio, Sample, mean, pooled, sample
from tests.service.experiments.readout.users import Columns, draw, moments

RATIOS = {**METRICS, "calibration": CALIBRATION}


def by_hand(columns: Columns, ratio: Ratio) -> tuple[float, float]:
    """Mean and squared error from the users themselves, by linearisation."""
    above = columns[ratio.numerator] / ratio.unit
    below = np.ones(len(above)) if ratio.denominator == "users" else columns[ratio.denominator].astype(float)
    value = above.sum() / below.sum()
    linear = (above - value * below) / below.mean()
    return float(value), float(linear.var(ddof=1) / len(linear))


@pytest.mark.parametrize("name", RATIOS)
def test_mean_and_error_are_those_of_the_users(name: str) -> None:
    columns = draw(3000)
    found = sample(moments(columns), RATIOS[name])
    assert found is not None
    assert (found.mean, found.variance) == pytest.approx(by_hand(columns, RATIOS[name]), rel=1e-9)
    assert found.users == 3000


@pytest.mark.parametrize("name", METRICS)
def test_aggregates_are_numpys_of_ratio_and_prior(name: str) -> None:
    columns, ratio = draw(500), METRICS[name]
    found = aggregates(moments(columns), ratio)
    for part in (ratio, ratio.prior):
        above = columns[part.numerator] / part.unit
        assert found.mean(part.numerator) == pytest.approx(above.mean(), rel=1e-12)
        assert found.var(part.numerator) == pytest.approx(above.var(ddof=1), rel=1e-12)
        if part.denominator != "users":
            expected = np.cov(above, columns[part.denominator])[0, 1]
            assert found.cov(part.numerator, part.denominator) == pytest.approx(expected, rel=1e-9)
    crossed = np.cov(columns[ratio.numerator] / ratio.unit, columns[ratio.prior.numerator] / ratio.unit)[0, 1]
    assert found.cov(ratio.numerator, ratio.prior.numerator) == pytest.approx(crossed, rel=1e-9)
    assert found.count() == 500


def test_a_ratio_that_all_users_share_has_no_error_at_all() -> None:
    exposures = np.array([3, 7, 11, 13])
    found = sample(moments({"exposures": exposures * 10, "clicks": exposures}), METRICS["ctr"])
    assert found == Sample(0.1, 0.0, 4)


def test_too_little_is_none() -> None:
    one = moments({"exposures": np.array([4]), "clicks": np.array([1])})
    unseen = moments({"exposures": np.array([4, 5]), "clicks": np.array([0, 0])})
    assert mean(Moments(), METRICS["ctr"]) is None
    assert mean(one, METRICS["ctr"]) == 0.25
    assert sample(one, METRICS["ctr"]) is None
    assert sample(unseen, METRICS["cvr"]) is None
    assert sample(unseen, METRICS["ctr"]) == Sample(0.0, 0.0, 2)


def test_steady_takes_users_and_events() -> None:
    assert Sample(1.0, 0.06, 100).steady
    assert not Sample(1.0, 0.06, 99).steady
    assert not Sample(1.0, 0.07, 1000).steady
    assert not Sample(0.0, 0.0, 1000).steady


def test_pooled_is_one_arm_of_both() -> None:
    first, second = draw(40, seed=1), draw(30, seed=2)
    both = {name: np.concatenate([first[name], second[name]]) for name in first}
    assert pooled(moments(first), moments(second)) == moments(both)
