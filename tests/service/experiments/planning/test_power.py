"""Power: textbook answers, the identities between the functions, and a simulation that clusters clicks by user."""

from math import inf, sqrt

import numpy as np
import pytest

from service.experiments.planning.power import Mean, Ratio, Test, detectable, power_of, standard_error, users_needed

FIXED = Test(alpha=0.05, power=0.8)


def test_users_of_the_textbook() -> None:
    # (1.959964 + 0.841621)² = 7.848880; two arms of 2 · 7.848880 / 0.1² each where deviation = mean
    assert users_needed(0.1, Mean(spread=1).variation, 0.5, FIXED) == pytest.approx(4 * 784.888, rel=1e-5)
    # 5 % clicks, one exposure each, lift of 20 %: V = 19, so 4 · 19 · 7.848880 / 0.04
    single = Ratio(rate=0.05, per_user=1, spread=1)
    assert users_needed(0.2, single.variation, 0.5, FIXED) == pytest.approx(14_912.87, rel=1e-5)


def test_detectable_lift_of_the_textbook() -> None:
    # 2.801585 standard errors; se = sqrt(19 · 2 / 10,000) = 0.0616441
    assert detectable(19, 10_000, 10_000, FIXED) == pytest.approx(2.801585 * 0.0616441, rel=1e-5)


def test_power_of_the_textbook() -> None:
    assert power_of(2.801585 * standard_error(1, 100, 300), 1, 100, 300, FIXED) == pytest.approx(0.8, abs=1e-5)
    assert power_of(0, 1, 100, 300, FIXED) == pytest.approx(0.05)  # both tails
    assert power_of(-0.3, 1, 100, 300, FIXED) == power_of(0.3, 1, 100, 300, FIXED)


@pytest.mark.parametrize("planned", [None, 5_000.0])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_users_needed_detect_the_lift_that_asked_for_them(planned: float | None, share: float) -> None:
    test = Test(alpha=0.01, power=0.9, planned=planned)
    users = users_needed(0.03, 4.0, share, test)
    assert detectable(4.0, users * (1 - share), users * share, test) == pytest.approx(0.03, rel=1e-4)
    assert power_of(0.03, 4.0, users * (1 - share), users * share, test) == pytest.approx(0.9, abs=1e-4)


def test_no_traffic_finds_nothing() -> None:
    assert users_needed(1e-9, 100.0, 0.5, FIXED) == inf


def test_peek_safe_costs_more_and_is_tightest_where_it_is_planned() -> None:
    for users in (100, 1_000, 10_000, 1_000_000):
        assert Test(0.05, 0.8, planned=users).critical(users) > FIXED.critical(users)
        tightest = min(
            np.geomspace(users / 20, users * 20, 801), key=lambda n: Test(0.05, 0.8, planned=n).critical(users)
        )
        assert tightest == pytest.approx(users, rel=0.1)
    # by hand for alpha 0.05, n = planned: nρ² = 5.991465 + log(6.991465) = 7.936172
    assert Test(0.05, 0.8, planned=1_000).critical(1_000) == pytest.approx(
        sqrt(2 * 8.936172 / 7.936172 * np.log(sqrt(8.936172) / 0.05)), rel=1e-6
    )


def test_peek_safe_stays_within_alpha_over_fifty_looks() -> None:
    rng = np.random.default_rng(5)
    runs, looks, step = 2_000, 50, 100
    sums = np.cumsum(rng.normal(0, sqrt(step), (runs, looks)), axis=1)  # of n standard normals
    users = step * np.arange(1, looks + 1, dtype=np.float64)
    z = np.abs(sums) / np.sqrt(users)
    test = Test(0.05, 0.8, planned=2_500)
    assert (z > [test.critical(n) for n in users]).any(axis=1).mean() < 0.05
    assert (z > FIXED.critical(1)).any(axis=1).mean() > 0.2  # what the other promises only at one look


def test_the_design_effect_is_1_without_clusters() -> None:
    assert Ratio(rate=0.05, per_user=1, spread=2).design_effect == 1
    assert Ratio(rate=0.05, per_user=20, spread=0).design_effect == 1
    assert Ratio(rate=0.5, per_user=20, spread=9).correlation == 1


def test_variation_and_power_hold_in_a_simulation_of_clustered_clicks() -> None:
    rng = np.random.default_rng(11)
    rate, per_user, spread, lift, users, runs = 0.1, 6.0, 0.8, 0.08, 2_000, 800
    # users' own rates are Beta with mean `rate` and standard deviation `spread` times that
    strength = (1 - rate) / (rate * spread**2) - 1

    def arm(mean: float) -> np.ndarray:  # click rate of each run
        own = rng.beta(mean * strength, (1 - mean) * strength, (runs, users))
        exposures = rng.geometric(1 / per_user, (runs, users))
        clicks: np.ndarray = rng.binomial(exposures, own).sum(1) / exposures.sum(1)
        return clicks

    control, other = arm(rate), arm(rate * (1 + lift))
    ratio = Ratio(rate=rate, per_user=per_user, spread=spread)
    seen = control.std() / control.mean() * sqrt(users)
    assert seen == pytest.approx(sqrt(ratio.variation), rel=0.08)
    z = (other / control - 1) / standard_error(ratio.variation, users, users)
    assert (np.abs(z) > 1.959964).mean() == pytest.approx(
        power_of(lift, ratio.variation, users, users, FIXED), abs=0.06
    )
