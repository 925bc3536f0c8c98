"""Intervals against plain computations."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from training.benchmark.comparison import (
    auc_influence,
    difference,
    influence,
    rmse_influence,
    seed_interval,
    standard_error,
)
from training.benchmark.targets import Target

Floats = NDArray[np.float64]


def draw(seed: int, rows: int = 300) -> tuple[Floats, Floats, Floats]:
    """Scores of two models, with ties, and labels."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.3).astype(np.float64)
    return *(np.round(labels + random.normal(size=(2, rows)), 1)), labels


def delong(scores: list[Floats], labels: Floats) -> Floats:
    """Covariance [k, k] of AUCs by the definition: all pairs of a positive and a negative."""
    wins = [np.sign(s[labels == 1][:, None] - s[labels == 0][None]) / 2 + 0.5 for s in scores]  # [positives, negatives]
    positives, negatives = wins[0].shape
    by_positive, by_negative = np.cov([w.mean(1) for w in wins]), np.cov([w.mean(0) for w in wins])
    return np.asarray(by_positive / positives + by_negative / negatives)


def test_the_influence_of_rows_gives_delongs_variance_of_an_auc_and_of_a_difference() -> None:
    one, other, labels = draw(0)
    covariance = delong([one, other], labels)
    moved = [auc_influence(scores, labels) for scores in (one, other)]
    assert standard_error(moved[0]) == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-12)
    paired = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert standard_error(moved[0] - moved[1]) == pytest.approx(math.sqrt(paired), rel=1e-12)


def test_one_positive_has_no_variance_to_tell() -> None:
    assert not auc_influence(np.arange(4.0), np.array([0.0, 0, 0, 1])).any()


def test_the_influence_of_rows_gives_the_jackknifes_error_of_an_rmse() -> None:
    values, _, labels = draw(1)
    squares = (values - labels) ** 2
    left_out = [math.sqrt(np.delete(squares, row).mean()) for row in range(len(labels))]
    jackknife = math.sqrt((len(labels) - 1) * np.var(left_out))
    assert standard_error(rmse_influence(values, labels)) == pytest.approx(jackknife, rel=0.01)


def test_rows_of_one_user_count_as_one_draw() -> None:
    one, _, labels = draw(2)
    alone = standard_error(auc_influence(one, labels))
    twice = auc_influence(np.repeat(one, 2), np.repeat(labels, 2))
    assert standard_error(twice) == pytest.approx(alone / math.sqrt(2), rel=0.01)
    assert standard_error(twice, np.repeat(np.arange(300, dtype=np.int32), 2)) == pytest.approx(alone, rel=0.01)


def target(labels: Floats, kind: str = "binary") -> Target:
    return Target("t", kind, "impressions", (0,), np.ones(len(labels), bool), labels, None)


def test_a_difference_holds_both_noises_and_neither_hides_the_other() -> None:
    one, other, labels = draw(3)
    moved = influence(target(labels), one[:, None]) - influence(target(labels), other[:, None])
    ours, base = [0.75, 0.77, 0.78], [0.70, 0.71, 0.75]
    found = difference(ours, base, moved, target(labels))
    interval = stats.ttest_rel(ours, base).confidence_interval(0.95)
    assert found.seeds is not None
    assert found.mean - found.seeds == pytest.approx(interval.low)
    assert found.rows == pytest.approx(1.959964 * standard_error(moved), rel=1e-6)
    assert found.both == pytest.approx(math.hypot(found.seeds, found.rows))
    assert found.both >= max(found.seeds, found.rows)
    assert found.noise == (abs(found.mean) <= found.both)


def test_one_seed_knows_the_noise_of_rows_alone() -> None:
    one, other, labels = draw(4)
    moved = auc_influence(one, labels) - auc_influence(other, labels)
    found = difference([0.9], [0.5], moved, target(labels))
    assert (found.seeds, found.both) == (None, found.rows)
    assert not found.noise
    assert math.isnan(seed_interval([0.9]))
