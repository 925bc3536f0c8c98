"""Zipf draws."""

import numpy as np
import pytest

from loadtest.popularity import Popularity

IDS = [f"i{n}" for n in range(100)]


def _shares(popularity: Popularity, draws: int) -> dict[str, float]:
    rng = np.random.default_rng(7)
    drawn = [popularity.one(rng) for _ in range(draws)]
    return {name: drawn.count(name) / draws for name in set(drawn)}


def test_shares_follow_the_exponent() -> None:
    top = sorted(_shares(Popularity(IDS, 1.0, np.random.default_rng(1)), 20_000).values(), reverse=True)
    harmonic = sum(1 / k for k in range(1, 101))
    assert top[0] == pytest.approx(1 / harmonic, rel=0.05)
    assert top[0] / top[1] == pytest.approx(2, rel=0.12)


def test_exponent_zero_is_uniform() -> None:
    shares = _shares(Popularity(IDS, 0.0, np.random.default_rng(1)), 20_000)
    assert len(shares) == 100
    assert max(shares.values()) < 0.015


def test_seed_decides_who_is_popular() -> None:
    first, again, other = (
        max(shares, key=shares.__getitem__)
        for shares in (_shares(Popularity(IDS, 1.2, np.random.default_rng(seed)), 2_000) for seed in (1, 1, 2))
    )
    assert first == again != other


@pytest.mark.parametrize("count", [1, 24, 25, 26, 99, 100])
def test_distinct_ids_are_distinct(count: int) -> None:
    drawn = Popularity(IDS, 1.05, np.random.default_rng(1)).distinct(np.random.default_rng(2), count)
    assert len(drawn) == len(set(drawn)) == count


def test_more_than_there_are_gives_all() -> None:
    drawn = Popularity(IDS, 1.05, np.random.default_rng(1)).distinct(np.random.default_rng(2), 500)
    assert sorted(drawn) == sorted(IDS)


@pytest.mark.parametrize("count", [10, 40])
def test_both_ways_of_drawing_distinct_ids_favour_the_popular(count: int) -> None:
    popularity, rng = Popularity(IDS, 1.05, np.random.default_rng(1)), np.random.default_rng(3)
    shares = _shares(popularity, 20_000)
    ranked = sorted(shares, key=shares.__getitem__, reverse=True)
    drawn = [set(popularity.distinct(rng, count)) for _ in range(300)]
    met = [sum(name in each for each in drawn) / 300 for name in (ranked[0], ranked[-1])]
    assert met[0] > 0.85
    assert met[1] < met[0] / 2
