"""Options of the command line: a shape's own where nothing is said."""

import argparse
from dataclasses import replace

import pytest

from contract.errors import ConfigError
from training.datasets.synthetic.options import add_options, spec_of
from training.datasets.synthetic.spec import BASES, Effects, Shape, Spec


def spec(*arguments: str) -> Spec:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return spec_of(parser.parse_args(arguments))


@pytest.mark.parametrize("shape", ["aliccp", "flat"])
def test_without_options_it_is_the_shapes_own(shape: Shape) -> None:
    assert spec("--shape", shape) == BASES[shape]


def test_every_option_is_taken() -> None:
    size = spec("--rows", "7", "--users", "5", "--items", "3", "--seed", "9", "--click-rate", ".2")
    assert size == Spec(7, users=5, items=3, seed=9, click_rate=0.2)
    time = spec("--days", "3", "--drift", "0", "--cold", "0", "--delay", "2", "--late", "lost")
    assert time == Spec(days=3, drift=0, cold=0, delay=2, late="lost")
    truth = spec("--pairs", "1.2", "--main", "0", "--factors", "1", "--rho", "-1", "--specific", "1")
    assert truth.effects == Effects(0, 1, 1.2, -1, 1)
    flat = spec("--shape", "flat", "--pair-fields", "small", "--conversion-rate", ".3", "--pairs", "2")
    effects = replace(BASES["flat"].effects, pairs=2)
    assert flat == replace(BASES["flat"], half="small", conversion_rate=0.3, effects=effects)


def test_halves_are_of_the_flat_shape() -> None:
    with pytest.raises(ConfigError, match="--pair-fields chooses between the halves of --shape flat"):
        spec("--pair-fields", "small")
