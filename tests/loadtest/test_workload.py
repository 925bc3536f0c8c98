"""The shape of the load."""

import argparse

import numpy as np
import pytest

from contract.errors import ConfigError
from loadtest.workload import add_arguments, parse_candidates, workload


def test_one_count() -> None:
    assert {parse_candidates("200").draw(np.random.default_rng(i)) for i in range(5)} == {200}


def test_weighted_counts() -> None:
    candidates, rng = parse_candidates("100:3,200:1"), np.random.default_rng(1)
    drawn = [candidates.draw(rng) for _ in range(4_000)]
    assert set(drawn) == {100, 200}
    assert abs(drawn.count(100) / 4_000 - 0.75) < 0.03
    assert candidates.largest == 200


def test_lognormal_counts_are_clipped() -> None:
    candidates, rng = parse_candidates("lognormal:200:2"), np.random.default_rng(1)
    drawn = [candidates.draw(rng) for _ in range(2_000)]
    assert min(drawn) >= 1
    assert max(drawn) == candidates.largest == 1_000
    assert abs(np.median(drawn) - 200) < 25


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1001",
        "x",
        "100:0",
        "100:-1,200:2",
        "100:nan",
        "100:inf,1:1",
        "lognormal:200",
        "lognormal:nan:1",
        "20.5",
    ],
)
def test_bad_candidates_name_the_argument(text: str) -> None:
    with pytest.raises(ConfigError, match="--candidates"):
        parse_candidates(text)


@pytest.mark.parametrize("wrong", ["--inline=1.5", "--unknown=-0.1", "--unknown=nan", "--exponent=-1", "--seed=-1"])
def test_bad_arguments_are_named(wrong: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
        workload(parser.parse_args([wrong]))
