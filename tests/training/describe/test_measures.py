"""Measures of counts against those of rows, by other people's code or by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from training.describe.measures import (
    HEADS,
    Rate,
    auc_of_counts,
    auc_z,
    deciles,
    grouped,
    heads,
    most_frequent,
    psi,
    rates,
    score_bins,
)


def test_auc_of_counts_is_the_auc_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    ids, labels = rng.integers(0, 30, 2000), rng.random(2000) < 0.2
    scores = rng.integers(0, 10, 30) / 10  # ties between ids too
    counts = np.bincount(ids, minlength=30), np.bincount(ids[labels], minlength=30)
    assert auc_of_counts(scores, *counts) == pytest.approx(roc_auc_score(labels, scores[ids]), abs=1e-12)
    assert auc_of_counts(scores, counts[0], np.zeros(30, np.int64)) is None
    assert auc_of_counts(scores, np.zeros(30, np.int64), np.zeros(30, np.int64)) is None


def test_auc_z_is_that_of_the_rank_sum_test() -> None:
    rng = np.random.default_rng(2)
    labels, scores = rng.random(400) < 0.3, rng.normal(size=400)
    auc = float(roc_auc_score(labels, scores))
    test = stats.ranksums(scores[labels], scores[~labels])
    assert auc_z(auc, 400, int(labels.sum())) == pytest.approx(abs(test.statistic), rel=1e-9)


def test_wilson_interval() -> None:
    expected = stats.binomtest(10, 100).proportion_ci(method="wilson")
    assert Rate(100, 10).interval == pytest.approx((expected.low, expected.high), rel=1e-6)
    assert Rate(0, 0).interval is None
    assert Rate(0, 0).value is None


def test_rates_of_thin_values_stay_near_the_mean() -> None:
    found = rates(np.array([1, 1000, 999]), np.array([1, 10, 989]))
    assert found[0] == pytest.approx((1 + 20 * 0.5) / 21)
    assert found[1] < 0.02


def test_psi_by_hand() -> None:
    found = psi(np.array([500, 500, 0]), np.array([250, 750, 0]))
    assert found is not None
    assert found[0] == pytest.approx(0.25 * np.log(2) + 0.25 * np.log(1.5), abs=1e-3)
    assert found[1] == pytest.approx(1 / 1000 + 1 / 1000)
    assert psi(np.array([1, 2]), np.array([0, 0])) is None


def test_a_new_value_gives_a_finite_psi() -> None:
    found = psi(np.array([1000, 0]), np.array([500, 500]))
    assert found is not None
    assert 0.25 < found[0] < np.inf


def test_heads_keep_missing_and_the_rest_apart() -> None:
    train = np.arange(HEADS + 50)[::-1].copy()
    groups = heads(train)
    assert groups[0] == 0
    assert groups[1] == 1  # most frequent
    assert set(groups[HEADS + 1 :]) == {HEADS + 1}
    assert grouped(train, groups).sum() == train.sum()


def test_deciles_hold_tenths() -> None:
    train = np.full(100, 7)
    assert np.bincount(deciles(train)).tolist() == [10] * 10


def test_most_frequent_breaks_ties_by_id() -> None:
    assert most_frequent(np.array([99, 3, 5, 3, 0, 5, 1]), 3) == [2, 5, 1]
    assert most_frequent(np.array([99, 0]), 3) == []


def test_score_bins_order_as_the_scores() -> None:
    scores = np.sort(np.random.default_rng(3).random(1000).astype(np.float32))
    bins = score_bins(np.concatenate([[0], scores, [1, 1.5]]).astype(np.float32))
    assert (np.diff(bins) >= 0).all()
    assert len(np.unique(bins)) > 800
    assert bins[-1] == bins[-2]
