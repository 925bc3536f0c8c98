"""Numbers in bins."""

import numpy as np
import pytest

from training.describe.bins import BINS, Bins


def test_few_values_have_a_bin_each() -> None:
    bins = Bins.of(np.array([3, 1, 1, 2], np.float32))
    assert bins.place(np.array([0, 1, 1.5, 2, 3, 9], np.float32)).tolist() == [0, 1, 1, 2, 3, 3]


def test_many_values_are_cut_at_quantiles() -> None:
    values = np.random.default_rng(1).normal(size=100_000).astype(np.float32)
    bins = Bins.of(values)
    counts = np.bincount(bins.place(values), minlength=bins.size)
    assert bins.size <= BINS + 1
    assert counts.max() < 3 * len(values) / BINS
    for share in (0.01, 0.5, 0.99):
        assert bins.quantile(counts, share) == pytest.approx(np.quantile(values, share), abs=0.02)


def test_weights_are_rows() -> None:
    values = np.arange(10_000).astype(np.float32)
    weights = np.where(values < 9_900, 0, 50).astype(np.int64)
    assert Bins.of(values, weights).edges.tolist() == values[9_900:].tolist()
    heavy = np.where(values == 5, 1_000_000, 1).astype(np.int64)
    bins = Bins.of(values, heavy)
    assert bins.quantile(np.bincount(bins.place(values), heavy, bins.size).astype(np.int64), 0.5) == 5


def test_a_heavy_value_does_not_swallow_the_rest() -> None:
    values = np.concatenate([np.zeros(980_000), 1 + np.random.default_rng(2).random(20_000)]).astype(np.float32)
    bins = Bins.of(values)
    at_zero = bins.place(np.zeros(1, np.float32))[0]
    assert (bins.place(values[980_000:]) == at_zero).mean() < 0.02


def test_without_rows() -> None:
    bins = Bins.of(np.empty(0, np.float32))
    assert bins.size == 1
    assert bins.quantile(np.zeros(1, np.int64), 0.5) is None
