"""Draws by number: even, independent, and the same alone as among others."""

import numpy as np
import pytest

from training.datasets.synthetic.counters import ZIPF, below, normals, shorts, stream, uniforms, words, zipf

KEY = stream(1, "test")
NUMBERS = np.arange(50_000)


def test_a_draw_is_of_its_number_alone() -> None:
    for draw in (words, shorts, uniforms, normals):
        whole = draw(KEY, NUMBERS, 5)
        assert draw(KEY, np.array([77, 3]), 5).tolist() == whole[[77, 3]].tolist()
        assert draw(stream(2, "test"), NUMBERS[:9], 5).tolist() != whole[:9].tolist()
        assert draw(stream(1, "other"), NUMBERS[:9], 5).tolist() != whole[:9].tolist()


def test_known_words_stay_the_same() -> None:
    """SplitMix64 of seed 0: its published first values."""
    assert words(0, np.array([0]), 3)[0].tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_draws_are_even_and_independent() -> None:
    drawn = uniforms(KEY, NUMBERS, 4)
    assert 0 <= drawn.min() < 1e-3 < 0.999 < drawn.max() < 1
    assert drawn.mean(axis=0) == pytest.approx([0.5] * 4, abs=0.006)
    bell = normals(KEY, NUMBERS, 4)
    assert bell.std(axis=0) == pytest.approx([1] * 4, abs=0.015)
    for columns in (drawn, bell):
        beside = np.corrcoef(columns.T) - np.eye(4)
        assert np.abs(beside).max() < 0.02
        assert abs(np.corrcoef(columns[:-1, 0], columns[1:, 0])[0, 1]) < 0.02
    codes = below(shorts(KEY, NUMBERS, 1)[:, 0], 97)
    assert np.bincount(codes, minlength=97) == pytest.approx([50_000 / 97] * 97, abs=120)


@pytest.mark.parametrize("count", [1, 10, 1_000_000])
def test_ranks_follow_zipfs_law(count: int) -> None:
    ranks = zipf((np.arange(400_000) + 0.5) / 400_000, count)
    assert ranks.min() == 0
    assert 0.9999 * count - 1 < ranks.max() < count
    top = min(count, 10)
    shares = np.bincount(ranks, minlength=top)[:top] / len(ranks)
    exact = (1.0 + np.arange(count)) ** -ZIPF
    assert shares == pytest.approx((exact / exact.sum())[:top], rel=0.12)
