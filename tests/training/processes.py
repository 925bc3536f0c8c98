"""What torchrun starts in test_distributed.py: one training after the other, in one group of processes."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from training.config import read_recipe
from training.distributed import processes
from training.models import Ranker, htlnet
from training.train import train


@contextmanager
def without_noise() -> Iterator[None]:
    """HTLNet without its Gumbel noise, which processes draw apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(htlnet, "rand_like", lambda like: torch.full_like(like, 0.5))
        yield


@contextmanager
def interrupted_at(step: int) -> Iterator[None]:
    """Ctrl-C in the middle of a step of this process."""
    steps = iter(range(1, 10_000))

    def interrupted(model: Ranker, losses: torch.Tensor) -> None:
        if next(steps) == step:
            signal.raise_signal(signal.SIGINT)
        losses.sum().backward()  # type: ignore[no-untyped-call]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ranker, "backward", interrupted)
        yield


def main() -> None:
    """Each order is [model, data, out, recipe assignments, step at which the second process is interrupted or 0]."""
    with processes() as (rank, _), without_noise():
        for model, data, out, settings, stop in json.loads(sys.argv[1]):
            order = Path(data), model, read_recipe(model, assignments=settings), Path(out), 1, "cpu"
            if stop:
                with interrupted_at(stop if rank == 1 else 0):
                    assert train(*order) == 130
            train(*order, resume=stop > 0)


if __name__ == "__main__":
    main()
