"""What torchrun starts in test_distributed.py: one training after the other, in one group of processes."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from training.config import read_recipe
from training.distributed import processes
from training.models import htlnet
from training.train import train


@contextmanager
def without_noise() -> Iterator[None]:
    """HTLNet without its Gumbel noise, which processes draw apart."""
    names = vars(htlnet)
    drawn = names["rand_like"]
    names["rand_like"] = lambda like: torch.full_like(like, 0.5)
    try:
        yield
    finally:
        names["rand_like"] = drawn


if __name__ == "__main__":
    with processes(), without_noise():
        for model, data, out, settings in json.loads(sys.argv[1]):
            train(Path(data), model, read_recipe(model, assignments=settings), Path(out), seed=1, device_name="cpu")
