"""Splits: exact shares, whole moments, whole users, the same row in the same part however the log is cut."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dictionary import Dictionary
from contract.schema import Split
from contract.texts import Texts
from tests.training.datasets.shop import PATIENT
from training.datasets.prepared import SPLITS
from training.datasets.ranks import Run
from training.datasets.splits import Rows, advice, bounds, cuts, permuted


def expected(rows: int, shares: tuple[float, float]) -> list[int]:
    ends = [int(np.floor(round(share * rows, 6))) for share in (shares[0], sum(shares))]
    return [ends[0], ends[1] - ends[0], rows - ends[1]]


@PATIENT
@given(st.integers(10, 500), st.sampled_from([(0.8, 0.1), (0.7, 0.1), (0.6, 0.2)]))
def test_random_shares_are_exact(rows: int, shares: tuple[float, float]) -> None:
    split = Split(train=shares[0], validation=shares[1])
    parts = bounds(split, rows, None, []).parts(Rows(0, rows))
    assert np.bincount(parts).tolist() == expected(rows, shares)


def test_random_parts_do_not_depend_on_how_the_log_is_cut() -> None:
    limits = bounds(Split(seed=7), 1000, None, [])
    whole = limits.parts(Rows(0, 1000))
    cut = [limits.parts(Rows(start, 125)) for start in range(0, 1000, 125)]
    assert np.concatenate(cut).tolist() == whole.tolist()
    other = bounds(Split(seed=8), 1000, None, []).parts(Rows(0, 1000))
    assert 0.6 < np.mean(whole == other) < 0.72  # as two independent splits agree: .66


def test_random_parts_know_nothing_of_the_order() -> None:
    test = bounds(Split(), 40_000, None, []).parts(Rows(0, 40_000)) == 2
    shares = test.reshape(40, 1000).mean(axis=1)
    assert abs(shares - 0.1).max() < 5 * (0.09 / 1000) ** 0.5


def test_a_fixed_split_is_the_permutation_of_the_seed() -> None:
    order = np.random.default_rng(7).permutation(100)
    parts = permuted(Split(train=0.7, validation=0.1, seed=7), 100).to_numpy()
    assert set(parts[order[:70]]) == {"train"}
    assert set(parts[order[70:80]]) == {"validation"}
    assert set(parts[order[80:]]) == {"test"}


@PATIENT
@given(st.lists(st.integers(-5, 30), min_size=50, max_size=200), st.integers(1, 5))
def test_later_moments_are_never_earlier_parts(times: list[int], runs: int) -> None:
    moments = np.array([*times, -100, 50, 51], np.int64)
    pieces = [Run.of(part) for part in np.array_split(moments, runs)]
    parts = bounds(Split(by="time"), len(moments), None, pieces).parts(Rows(0, len(moments), times=moments))
    assert (np.diff(parts[np.argsort(moments, kind="stable")]) >= 0).all()
    for moment in set(moments.tolist()):
        assert len(set(parts[moments == moment])) == 1
    first_of_next = np.sort(moments)[list(cuts(Split(), len(moments)))]
    assert parts.tolist() == np.searchsorted(first_of_next, moments, side="right").tolist()


@PATIENT
@given(st.lists(st.integers(0, 40), min_size=100, max_size=200))
def test_users_stay_whole_and_in_their_shares(rows: list[int]) -> None:
    users = Dictionary.ordered(Texts.of([f"u{i}".encode() for i in range(41)]))
    of_row = np.array([*rows, *range(41)], np.int32)
    parts = bounds(Split(by="user"), len(of_row), users, []).parts(Rows(0, len(of_row), users=of_row))
    part_of = [set(parts[of_row == code]) for code in range(41)]
    assert all(len(part) == 1 for part in part_of)
    assert sum(part == {0} for part in part_of) == 32


def test_a_column_may_say_it() -> None:
    given_ = np.array([2, 0, 1], np.int8)
    split = Split(by="column", column="fold")
    assert bounds(split, 3, None, []).parts(Rows(0, 3, given=given_)).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(by="time"), "30 rows have 1 distinct times"),
        (Split(by="user"), "there are 2 users"),
        (Split(by="column", column="fold"), "column 'fold' must say train, validation and test"),
        (Split(train=0.99, validation=0.001), "there are 30 rows"),
    ],
)
def test_an_empty_part_is_explained(split: Split, message: str) -> None:
    assert message in advice(split, 30, 2, [Run.of(np.zeros(30, np.int64))])


def test_parts_are_named_as_in_a_prepared_data_set() -> None:
    assert set(permuted(Split(), 50)) == set(SPLITS)
    assert permuted(Split(), 50).dtype == pl.String
