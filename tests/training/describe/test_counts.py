"""Counting rows of ids by channel."""

import numpy as np
import pytest

from contract.schema import Task
from training.describe.counts import Counts, Target, channels, counted, positive


@pytest.mark.parametrize("size", [10, 100_000])  # dense sums, and touching only what is met
@pytest.mark.parametrize("as_rows", [True, False])
def test_sums_are_those_of_a_loop(size: int, as_rows: bool) -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 10, (500, 1)).astype(np.int32)
    weights = rng.random((3, 500)) < 0.4 if as_rows else rng.integers(0, 5, (3, 500)).astype(np.uint32)
    counts = Counts(1, 3, size, 1000)
    counts.add(0, ids, weights)
    counts.add(0, ids[:7], weights[:, :7])
    every, much = np.concatenate([ids, ids[:7]])[:, 0], np.concatenate([weights, weights[:, :7]], axis=1)
    for channel in range(3):
        expected = np.zeros(size)
        for i, weight in zip(every, much[channel], strict=True):
            expected[i] += weight
        assert counts.of(0, channel).tolist() == expected.tolist()


def test_a_row_counts_each_value_once() -> None:
    counts = Counts(1, 1, 5, 100)
    counts.add(0, np.array([[3, 0, 3], [0, 0, 0], [1, 3, 0]], np.int32), np.ones((1, 3), bool))
    assert counts.of(0, 0).tolist() == [1, 1, 0, 2, 0]


def test_more_rows_than_32_bits_hold() -> None:
    counts = Counts(1, 1, 2, 2**33)
    for _ in range(3):
        counts.add(0, np.array([[1]], np.int32), np.array([[2**31]], np.uint64))
    assert counts.of(0, 0).tolist() == [0, 3 * 2**31]


def test_channels_follow_the_spaces() -> None:
    targets = (
        Target(Task(name="ctr", label="click")),
        Target(Task(name="cvr", label="conversion", space="ctr")),
        Target(Task(name="value", label="value", kind="continuous"), threshold=2.0),
    )
    nan = float("nan")
    labels = {
        "ctr": np.array([0, 1, 1, nan], np.float32),
        "cvr": np.array([1, 1, 0, 1], np.float32),
        "value": np.array([2, 3, nan, 1], np.float32),
    }
    found = channels(targets, labels, 4)
    assert found[0].tolist() == [True] * 4
    assert found[counted(0)].tolist() == [True, True, True, False]
    assert found[positive(0)].tolist() == [False, True, True, False]
    assert found[counted(1)].tolist() == [False, True, True, False]
    assert found[positive(1)].tolist() == [False, True, False, False]
    assert found[positive(2)].tolist() == [False, True, False, False]
