"""Splits: exact shares, whole moments, whole users, and a clear refusal of empty parts."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import DataError
from contract.schema import Split
from tests.training.datasets.shop import PATIENT
from training.datasets.splits import assign
from training.datasets.stored import Stored


def visitors(rows: list[int]) -> Stored:
    codes = np.array(rows, np.int32)
    keys = pl.Series([f"u{i}" for i in range(int(codes.max()) + 1)])
    return Stored("user_id", None, keys, codes, np.zeros(len(keys), np.int64))


@PATIENT
@given(st.integers(10, 500), st.sampled_from([(0.8, 0.1), (0.7, 0.1), (0.6, 0.2)]))
def test_random_shares_are_exact(rows: int, shares: tuple[float, float]) -> None:
    parts = assign(Split(train=shares[0], validation=shares[1]), rows, None, None)
    bounds = [int(np.floor(round(share * rows, 6))) for share in (shares[0], sum(shares))]
    assert np.bincount(parts).tolist() == [bounds[0], bounds[1] - bounds[0], rows - bounds[1]]


def test_random_is_the_permutation_of_the_seed() -> None:
    order = np.random.default_rng(7).permutation(100)
    parts = assign(Split(train=0.7, validation=0.1, seed=7), 100, None, None)
    assert set(parts[order[:70]]) == {0}
    assert set(parts[order[70:80]]) == {1}
    assert set(parts[order[80:]]) == {2}


@PATIENT
@given(st.lists(st.integers(-5, 30), min_size=50, max_size=200))
def test_later_moments_are_never_earlier_parts(times: list[int]) -> None:
    moments = np.array([*times, -100, 50, 51], np.int64)
    try:
        parts = assign(Split(by="time"), len(moments), None, moments)
    except DataError:
        return  # too many rows of one moment
    assert (np.diff(parts[np.argsort(moments, kind="stable")]) >= 0).all()
    for moment in set(moments.tolist()):
        assert len(set(parts[moments == moment])) == 1


@PATIENT
@given(st.lists(st.integers(0, 40), min_size=100, max_size=200))
def test_users_stay_whole_and_in_their_shares(rows: list[int]) -> None:
    user = visitors([*rows, *range(41)])
    parts = assign(Split(by="user"), len(user.rows), user, None)
    part_of = [set(parts[user.rows == code]) for code in range(41)]
    assert all(len(part) == 1 for part in part_of)
    assert sum(part == {0} for part in part_of) == 32


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(by="time"), "leaves no rows for train; 30 rows have 1 distinct times"),
        (Split(by="user"), "leaves no rows for validation; there are 2 users"),
        (Split(train=0.99, validation=0.001), "leaves no rows for validation; there are 30 rows"),
    ],
)
def test_an_empty_part_is_refused(split: Split, message: str) -> None:
    with pytest.raises(DataError, match=message):
        assign(split, 30, visitors([0, 1] * 15), np.zeros(30, np.int64))
