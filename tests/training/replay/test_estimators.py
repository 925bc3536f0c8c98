"""Off-policy estimates against a truth that is known, and by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import DataError
from training.replay.estimators import Estimate, Rounds, difference, doubly_robust, ips, snips, wilson

ITEMS = 5
TRUTH = np.array([0.1, 0.2, 0.3, 0.4, 0.5])  # reward of each item
LOGGING = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
EVALUATED = np.array([0.05, 0.1, 0.15, 0.3, 0.4])


def draw(seed: int, rounds: int) -> tuple[Rounds, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    shown = rng.choice(ITEMS, rounds, p=LOGGING)
    reward = (rng.random(rounds) < TRUTH[shown]).astype(float)
    return Rounds(reward, LOGGING[shown], np.arange(rounds)), shown


def estimates(seed: int, rounds: int = 600, guess: float = 0.7) -> dict[str, Estimate]:
    """All three; DR with a model that is off by a factor."""
    log, shown = draw(seed, rounds)
    evaluated, model = EVALUATED[shown], guess * TRUTH
    baseline = np.full(rounds, EVALUATED @ model)
    return {
        "ips": ips(log, evaluated),
        "snips": snips(log, evaluated),
        "dr": doubly_robust(log, evaluated, model[shown], baseline),
    }


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_unbiased_with_intervals_that_cover(name: str) -> None:
    truth = float(EVALUATED @ TRUTH)
    found = [estimates(seed)[name] for seed in range(600)]
    values = np.array([each.value for each in found])
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values)) + (0.002 if name == "snips" else 0)
    assert 0.92 < np.mean([each.low <= truth <= each.high for each in found]) < 0.98
    assert np.mean([each.error for each in found]) == pytest.approx(values.std(), rel=0.1)


def test_a_good_model_narrows_dr() -> None:
    wide, narrow = (np.mean([estimates(seed, guess=g)["dr"].error for seed in range(50)]) for g in (0.0, 1.0))
    assert narrow < 0.95 * wide


def test_by_hand() -> None:
    log = Rounds(np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.5, 0.5, 0.25, 0.25]), np.array([0, 0, 1, 1]))
    evaluated = np.array([0.25, 0.5, 0.5, 0.0])  # weights .5, 1, 2, 0
    assert ips(log, evaluated).value == pytest.approx(2.5 / 4)
    assert snips(log, evaluated).value == pytest.approx(2.5 / 3.5)
    assert ips(log, evaluated).effective == pytest.approx(3.5**2 / 5.25)
    assert ips(log, evaluated).largest == 2
    # clusters' sums of deviations are -.75 and +.75
    assert ips(log, evaluated).error == pytest.approx(np.sqrt(2 * 0.75**2 * 2) / 4)
    dr = doubly_robust(log, evaluated, np.full(4, 0.5), np.full(4, 0.5))
    assert dr.value == pytest.approx(0.5 + (0.25 - 0.5 + 1.0) / 4)


def test_the_logging_policy_is_its_own_mean() -> None:
    log, _ = draw(1, 500)
    for estimate in (ips(log, log.propensity), snips(log, log.propensity)):
        assert estimate.value == pytest.approx(log.reward.mean())
        assert estimate.effective == pytest.approx(500)
        assert estimate.error == pytest.approx(log.reward.std(ddof=1) / np.sqrt(500))


def test_no_click_is_no_certainty() -> None:
    log = Rounds(np.zeros(340), np.full(340, 1 / 34), np.arange(340))
    evaluated = np.array([1.0] * 10 + [0.0] * 330)  # the log agrees with the policy in ten rounds
    for estimate in (ips(log, evaluated), snips(log, evaluated)):
        assert (estimate.value, estimate.error) == (0, 0)
        assert estimate.effective == pytest.approx(10)
        assert estimate.low == pytest.approx(0)
        assert estimate.high == pytest.approx(0.2775, abs=1e-4)  # Wilson's for 0 of 10


def test_differences_add_the_distances_of_the_ends() -> None:
    low, high = wilson(56 / 70, 70)
    other_low, other_high = wilson(48 / 80, 80)
    one = Estimate(0.8, 0.05, 70, 1, low, high)
    other = Estimate(0.6, 0.05, 80, 1, other_low, other_high)
    gain = difference(one, other)
    assert gain.low == pytest.approx(0.0524, abs=1e-4)  # as in Newcombe 1998
    assert gain.high == pytest.approx(0.3339, abs=1e-4)


def test_what_is_no_log_is_refused() -> None:
    for propensity in (0.0, 1.5, float("nan")):
        with pytest.raises(DataError, match="propensity outside"):
            Rounds(np.ones(1), np.array([propensity]), np.zeros(1, np.int64))
    with pytest.raises(DataError, match="no rounds"):
        Rounds(np.empty(0), np.empty(0), np.empty(0, np.int64))
