"""Runs, ranks and order bits against NumPy and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from training.ranks import mean_ranks, order_bits, runs

NUMBERS = st.lists(st.floats(width=32, allow_nan=False), max_size=30)


@given(NUMBERS)
def test_order_bits_order_and_tie_as_the_numbers(numbers: list[float]) -> None:
    exact = np.array([*numbers, 0.0, -0.0])
    for scores in (exact, exact.astype(np.float32)):
        bits = order_bits(scores)
        assert ((bits[:, None] < bits) == (scores[:, None] < scores)).all()
        assert bits.max() < 2**32


@given(NUMBERS)
def test_mean_ranks(numbers: list[float]) -> None:
    values = np.array(numbers, np.float64)
    assert mean_ranks(values).tolist() == rankdata(values).tolist()
    starts = np.unique(np.sort(values), return_index=True)[1]
    assert runs(np.sort(values)).tolist() == starts.tolist()


def test_nan_has_no_rank() -> None:
    assert mean_ranks(np.array([1.0, np.nan])).tolist() == pytest.approx([np.nan] * 2, nan_ok=True)
