"""Several processes, one model: `torchrun --nproc-per-node 2 -m training train …`; gloo on CPUs, nccl on GPUs.

Every process holds the whole model and works on its part of each batch, or, streaming, on its own row groups. Losses
are means over the counted rows of all processes, so that gradients are those of one process with the whole batch.
Outside torchrun everything here is the identity.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

Item = TypeVar("Item")


class Place(NamedTuple):
    """Which process this is, of how many."""

    rank: int
    world: int


@contextmanager
def processes() -> Iterator[Place]:
    """Join the processes that torchrun started, and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Place(0, 1)
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield place()
    finally:
        distributed.destroy_process_group()


def place() -> Place:
    """(0, 1) outside torchrun."""
    joined = distributed.is_available() and distributed.is_initialized()
    return Place(distributed.get_rank(), distributed.get_world_size()) if joined else Place(0, 1)


def local_rank() -> int:
    """Which of this machine's devices belongs to this process."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def parallel(module: nn.Module) -> nn.Module:
    """The module in DistributedDataParallel, which averages gradients while they are computed."""
    return module if place().world == 1 else DistributedDataParallel(module)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The same by hand, for models whose `backward` goes past DistributedDataParallel's hooks."""
    world = place().world
    if world == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    dense = [grad for grad in grads if not grad.is_sparse]
    flat = torch.cat([grad.flatten() for grad in dense]) / world
    distributed.all_reduce(flat)
    for grad, mean in zip(dense, torch.split(flat, [grad.numel() for grad in dense]), strict=True):
        grad.copy_(mean.view_as(grad))
    for grad in grads:
        if grad.is_sparse:
            grad.div_(world)
            distributed.all_reduce(grad)


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if place().world == 1:
        return tensor
    total = tensor.clone()
    distributed.all_reduce(total)
    return total


def share(rows: int) -> tuple[int, int]:
    """The rows [start, stop) that this process scores."""
    rank, world = place()
    return rows * rank // world, rows * (rank + 1) // world


def in_step(items: Iterable[Item]) -> Iterator[Item | None]:
    """The items, then None for as long as another process still has some: sharded tables answer all at once."""
    own = iter(items)
    while True:
        item = next(own, None)
        if not summed(torch.tensor(item is not None, dtype=torch.int64)):
            return
        yield item


def gathered(own: Tensor, rows: int) -> Tensor:
    """All `rows` rows, on every process, where each has those of its `share`; exact, nothing is averaged."""
    _, world = place()
    if world == 1:
        return own
    bounds = [rows * rank // world for rank in range(world + 1)]
    most = max(stop - start for start, stop in pairwise(bounds))
    padded = torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])])
    parts = [torch.empty_like(padded) for _ in range(world)]
    distributed.all_gather(parts, padded)
    sizes = (stop - start for start, stop in pairwise(bounds))
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def stacked(tensor: Tensor) -> Tensor:
    """A CPU tensor of the same shape in every process, [processes, ...]."""
    _, world = place()
    if world == 1:
        return tensor.unsqueeze(0)
    parts = [torch.empty_like(tensor) for _ in range(world)]
    distributed.all_gather(parts, tensor)
    return torch.stack(parts)
