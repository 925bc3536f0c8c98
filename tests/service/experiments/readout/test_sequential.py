"""Peek-safe intervals against gbstats 0.8.0, and their shape."""

import math

import pytest

from service.experiments.config import Measure
from service.experiments.log.records import MICROS
from service.experiments.outcomes.moments import Moments
from service.experiments.readout.intervals import always_of_lift, one_look
from service.experiments.readout.pairs import Pair, pair
from service.experiments.readout.ratios import METRICS
from service.experiments.readout.sequential import half_width, p_value, planned_users, users_until

# Two arms drawn once with numpy, seed 20261201; the answers were printed by gbstats 0.8.0 (SequentialTwoSidedTTest and
# TwoSidedTTest over SampleMeanStatistic, RatioStatistic and RegressionAdjustedStatistic with compute_theta, alpha 0.05)
# in an environment of its own, since it pins an old numpy. e: exposures, c: clicks, v: value, pv: prior value.
CONTROL = {"n": 4000, "e": 27956, "c": 1774, "v": 446967, "pv": 434707, "ee": 218766, "cc": 2918, "ec": 14069,
           "vv": 250615783, "pvpv": 238777925, "vpv": 69401449}  # fmt: skip
ARM = {"n": 3500, "e": 24287, "c": 1728, "v": 434453, "pv": 393557, "ee": 189951, "cc": 2932, "ec": 13326,
       "vv": 239354809, "pvpv": 215702809, "vpv": 69629658}  # fmt: skip
LIFT_OF_RATIO = {  # tuned for so many users: interval, p
    5000: (-0.002269828159801923, 0.24471212926140226, 0.0584232720154934),
    20000: (-0.0060860002860265855, 0.24852830138762694, 0.07052807717459418),
}
LIFT_OF_MEAN = {
    5000: (-0.039895975893748034, 0.26161576409159853, 0.3560498624718474),
    20000: (-0.04455469959112039, 0.2662744877889709, 0.305652076546896),
}
DIFFERENCE_OF_RATIO = {
    5000: (0.0002580674637285736, 0.015126559884756152, 0.036970015132128636),
    20000: (2.8331142385302696e-05, 0.015356296206099422, 0.048653403198828105),
}
DIFFERENCE_AFTER_CUPED = (-3.9625290947922647, 27.872362970763696, 0.32225269127786665)  # tuned for 5000
ONE_LOOK_OF_RATIO = (0.0029050816327268773, 0.012479545715757847, 0.0016400767506203895)  # of the difference
ONE_LOOK_AFTER_CUPED = (1.7050123522506748, 22.204821523720753, 0.022261017554138895)


def known(sums: dict[str, int]) -> Moments:
    """Their sums as moments; value is in millionths here."""
    found = Moments()
    columns = {"e": "exposures", "c": "clicks", "v": "value", "pv": "prior_value"}
    unit = {"v": MICROS, "pv": MICROS}
    pairs = {"n": ("users", "users"), "ee": ("e", "e"), "cc": ("c", "c"), "ec": ("e", "c"), "vv": ("v", "v"),
             "pvpv": ("pv", "pv"), "vpv": ("v", "pv")} | {name: ("users", name) for name in columns}  # fmt: skip
    for name, (one, other) in pairs.items():
        size = sums[name] * unit.get(one, 1) * unit.get(other, 1)
        _set(found, columns.get(one, one), columns.get(other, other), size)
    return found


def _set(moments: Moments, one: str, other: str, size: int) -> None:
    probe = Moments(products=list(range(len(moments.products))))  # says where a product lies
    moments.products[probe.product(one, other)] = size


def compared(name: str, prior: bool = False) -> Pair:
    found = pair(known(CONTROL), known(ARM), METRICS[name], prior)
    assert found is not None
    assert found.cuped is prior
    return found


@pytest.mark.parametrize("planned", LIFT_OF_RATIO)
@pytest.mark.parametrize(("name", "answers"), [("ctr", LIFT_OF_RATIO), ("value", LIFT_OF_MEAN)])
def test_lift_is_gbstats(name: str, answers: dict[int, tuple[float, float, float]], planned: int) -> None:
    both = compared(name)
    interval = always_of_lift(both, planned, 0.05)
    p = p_value(both.lift, both.lift_variance, both.users, planned, 0.05)
    assert (interval.low, interval.high, p) == pytest.approx(answers[planned], rel=1e-9)


@pytest.mark.parametrize("planned", DIFFERENCE_OF_RATIO)
def test_difference_is_gbstats(planned: int) -> None:
    assert _difference(compared("ctr"), planned) == pytest.approx(DIFFERENCE_OF_RATIO[planned], rel=1e-9)


def test_difference_after_cuped_is_gbstats() -> None:
    assert _difference(compared("value", prior=True), 5000) == pytest.approx(DIFFERENCE_AFTER_CUPED, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "cuped", "answer"), [("ctr", False, ONE_LOOK_OF_RATIO), ("value", True, ONE_LOOK_AFTER_CUPED)]
)
def test_one_look_is_gbstats(name: str, cuped: bool, answer: tuple[float, float, float]) -> None:
    look = one_look(known(CONTROL), known(ARM), METRICS[name], cuped, 0.05)
    assert look is not None
    found = look.effect_size_ci_lower, look.effect_size_ci_upper, look.pvalue
    assert found == pytest.approx(answer, rel=1e-9)


def _difference(both: Pair, planned: int) -> tuple[float, float, float]:
    half = half_width(both.difference_variance, both.users, planned, 0.05)
    p = p_value(both.difference, both.difference_variance, both.users, planned, 0.05)
    return both.difference - half, both.difference + half, p


def test_p_is_the_level_at_which_the_interval_touches_nothing() -> None:
    half = half_width(0.0004, 9000, 5000, 0.05)
    assert p_value(half, 0.0004, 9000, 5000, 0.05) == pytest.approx(0.05, rel=1e-12)
    assert p_value(-half, 0.0004, 9000, 5000, 0.05) == pytest.approx(0.05, rel=1e-12)
    assert p_value(0.0, 0.0004, 9000, 5000, 0.05) == 1.0


def test_the_interval_is_nearly_narrowest_where_it_was_planned() -> None:
    at_plan = half_width(1.0, 10_000, 10_000, 0.05)
    best = min(half_width(1.0, 10_000, planned, 0.05) for planned in range(2_000, 40_000, 500))
    assert at_plan == pytest.approx(best, rel=0.01)
    assert 1.1 < half_width(1.0, 10_000, 100_000, 0.05) / at_plan < 1.4


def test_planned_users_follow_from_the_configuration_alone() -> None:
    assert planned_users(Measure(effect=0.05)) == math.ceil(4 * (1.959963985 + 0.841621234) ** 2 / 0.05**2)
    assert planned_users(Measure(effect=0.1)) == math.ceil(4 * (1.959963985 + 0.841621234) ** 2 / 0.1**2)
    assert planned_users(Measure(planned_users=777)) == 777


def test_users_until_the_interval_is_that_narrow() -> None:
    width = half_width(0.01, 1000, 5000, 0.05) / 2
    users = users_until(width, 0.01, 1000, 5000, 0.05)
    assert half_width(0.01 * 1000 / users, users, 5000, 0.05) == pytest.approx(width, rel=1e-6)
    assert 3000 < users < 4000  # less than fourfold: the interval nears the users it is tuned for
    assert users_until(1e-9, 0.01, 1000, 5000, 0.05) == math.inf
    assert users_until(10.0, 0.01, 1000, 5000, 0.05) == pytest.approx(1000)
