"""All comparisons: families, levels, Holm, and what is None."""

import pytest

from service.experiments.config import Measure
from service.experiments.outcomes.moments import Moments
from service.experiments.readout.comparisons import compare_all
from service.experiments.readout.corrections import family, holm
from service.experiments.readout.intervals import always_of_lift
from service.experiments.readout.pairs import pair
from service.experiments.readout.ratios import METRICS
from service.experiments.readout.report import Comparison
from service.experiments.readout.sequential import p_value
from tests.service.experiments.readout.users import draw, moments

MEASURE = Measure(primary="ctcvr", effect=0.05, planned_users=3000)
ARMS = {
    "ple": moments(draw(1500, seed=1)),
    "dtn": moments(draw(1500, lift=0.3, seed=2)),
    "new": moments(draw(1500, lift=0.8, seed=3)),
}


def found(measure: Measure = MEASURE) -> dict[tuple[str, str], Comparison]:
    return {(each.metric, each.arm): each for each in compare_all(ARMS, "ple", ["dtn", "new"], measure)}


def test_the_primary_metric_comes_first_and_every_arm_has_every_metric() -> None:
    keys = list(found())
    assert keys[:2] == [("ctcvr", "dtn"), ("ctcvr", "new")]
    assert sorted(keys) == sorted((metric, arm) for metric in METRICS for arm in ("dtn", "new"))


def test_peek_safe_intervals_share_alpha_within_their_family() -> None:
    for (metric, arm), each in found().items():
        share = 0.05 / (2 if metric == "ctcvr" else 6)
        assert each.level == pytest.approx(1 - share)
        both = pair(ARMS["ple"], ARMS[arm], METRICS[metric], prior=True)
        assert both is not None
        assert each.always == always_of_lift(both, 3000, share)
        assert each.always_p == p_value(both.lift, both.lift_variance, both.users, 3000, 0.05)


def test_p_values_are_corrected_by_holm_within_their_family() -> None:
    compared = found()
    primary = [compared["ctcvr", arm] for arm in ("dtn", "new")]
    low, high = sorted(each.p_value or 0 for each in primary)
    adjusted = sorted(each.adjusted or 0 for each in primary)
    assert adjusted == pytest.approx([min(1, 2 * low), min(1, max(2 * low, high))], rel=1e-12)
    others = sorted((each.p_value or 0, each.adjusted or 0) for key, each in compared.items() if key[0] != "ctcvr")
    running = 0.0
    for i, (p, after) in enumerate(others):
        running = max(running, min(1.0, p * (6 - i)))
        assert after == pytest.approx(running, rel=1e-12)


def test_holm_by_hand() -> None:
    p_values = {("ctr", "a"): 0.01, ("ctr", "b"): 0.04, ("ctr", "c"): 0.03}
    expected = {("ctr", "a"): 0.03, ("ctr", "b"): 0.06, ("ctr", "c"): 0.06}
    assert holm(p_values, 0.05) == pytest.approx(expected)
    assert holm({}, 0.05) == {}


def test_what_decides_is_a_family_of_its_own() -> None:
    assert family("ctr", "ctr", ["a", "b"]) == [("ctr", "a"), ("ctr", "b")]
    assert len(family("value", "ctr", ["a", "b"])) == 6
    assert family("value", "ctr", ["a"]) == family("cvr", "ctr", ["a"])


def test_a_comparison_that_cannot_be_told_yet_counts_in_its_family() -> None:
    arms = ARMS | {"new": Moments()}
    compared = {(each.metric, each.arm): each for each in compare_all(arms, "ple", ["dtn", "new"], MEASURE)}
    first = compared["ctcvr", "dtn"]
    assert first.p_value is not None
    assert first.adjusted == pytest.approx(min(1, 2 * first.p_value), rel=1e-12)
    assert compared["ctcvr", "new"].p_value is None
    assert compared["ctcvr", "new"].adjusted is None


def test_significant_says_what_the_interval_says() -> None:
    for each in found().values():
        low, high = each.always.low, each.always.high
        assert low is not None
        assert high is not None
        assert each.significant == (low > 0 or high < 0)
    assert found()["ctr", "new"].significant
    assert not found(Measure(alpha=1e-12))["ctcvr", "dtn"].significant


def test_cuped_only_where_there_are_prior_days() -> None:
    assert found()["ctr", "dtn"].cuped
    without = found(Measure(prior_days=0))["ctr", "dtn"]
    assert not without.cuped
    assert without.variance_reduction is None


def test_without_errors_the_difference_is_still_there() -> None:
    users = {name: moments({key: column[:1] for key, column in draw(40, seed=7).items()}) for name in ("ple", "dtn")}
    each = next(each for each in compare_all(users, "ple", ["dtn"], MEASURE) if each.metric == "ctr")
    assert each.difference == 0
    assert each.fixed.low is None
    assert each.power is None
