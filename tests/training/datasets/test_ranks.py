"""The n-th of many runs against a sort; floats as integers that sort as they do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.datasets.shop import PATIENT
from training.datasets.ranks import Run, floats, nth, ordered, total

WIDE = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)


@PATIENT
@given(st.lists(st.lists(st.tuples(WIDE, st.integers(0, 3)), max_size=12), min_size=1, max_size=5))
def test_nth_is_that_of_all_values_sorted(parts: list[list[tuple[int, int]]]) -> None:
    arrays = [np.array(part, np.int64).reshape(-1, 2) for part in parts]
    runs = [Run.of_array(Run.of(part[:, 0].copy(), part[:, 1].copy()).array()) for part in arrays]
    every = np.sort(np.concatenate([np.repeat(part[:, 0], part[:, 1]) for part in arrays]))
    assert total(runs) == len(every)
    assert [nth(runs, place) for place in range(len(every))] == every.tolist()


def test_values_count_once_without_weights() -> None:
    run = Run.of(np.array([5, 3, 5], np.int64))
    assert (run.values.tolist(), run.upto.tolist()) == ([3, 5], [1, 3])
    assert [run.count(value) for value in (2, 3, 4, 5)] == [0, 1, 1, 3]


@PATIENT
@given(st.lists(st.floats(allow_nan=False), min_size=2))
def test_ordered_sorts_as_the_numbers_and_comes_back(values: list[float]) -> None:
    numbers = np.array([*values, 0.0, -0.0, np.inf, -np.inf, 5e-324, -5e-324])
    bits = ordered(numbers)
    assert ((bits[:, None] < bits) == (numbers[:, None] < numbers)).all()
    assert floats(bits).tolist() == numbers.tolist()
    assert bits[len(values)] == bits[len(values) + 1]  # 0.0 and -0.0


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_zero_comes_back_without_a_sign(value: float) -> None:
    assert not np.signbit(floats(ordered(np.array([value]))))[0]
