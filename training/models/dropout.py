"""Relu and dropout in one step, with masks cut from a pool: drawing them anew costs a CPU as much as the layer."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

POOL = 1 << 22  # mask entries kept for each rate


class ReluDropout(nn.Module):
    """relu, then dropout at rate `p` while training.

    On a CPU the mask is a window of POOL fixed Bernoulli draws, at an offset that torch's global generator draws anew.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x.relu()
        if x.is_cuda or x.numel() > POOL // 2:
            return nn.functional.dropout(x.relu(), self.p)
        kept: Tensor = _ReluMask.apply(x, _window(x, self.p), 1 / (1 - self.p))  # type: ignore[no-untyped-call]
        return kept


class _ReluMask(torch.autograd.Function):
    """relu(x) * mask, mask in {0, scale}; the gradient needs the output alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        out = x.relu().mul_(mask)
        ctx.save_for_backward(out)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grads[0], out, 0).mul_(ctx.scale), None, None


def _window(x: Tensor, p: float) -> Tensor:
    start = int(torch.randint(0, POOL - x.numel(), ()))
    return _pool(p)[start : start + x.numel()].view(x.shape)


@lru_cache(maxsize=8)
def _pool(p: float) -> Tensor:
    generator = torch.Generator().manual_seed(20261122)
    return (torch.rand(POOL, generator=generator) >= p).to(torch.float32).div_(1 - p)
