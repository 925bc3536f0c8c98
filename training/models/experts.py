"""Experts stacked into batched matrix products, and the gates that mix them."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from training.models.dropout import ReluDropout
from training.models.initialisation import xavier


class Experts(nn.Module):
    """`count` relu experts of one shape that read the same input: [N, inputs] → [N, count, layers[-1]]."""

    def __init__(self, inputs: int, count: int, layers: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.count = count
        self.first = xavier(nn.Linear(inputs, count * layers[0]), layers[0])
        self.deeper = nn.ModuleList(StackedLinear(count, before, after) for before, after in pairwise(layers))
        self.activation = ReluDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.first(x))

    def after(self, product: Tensor, count: int | None = None) -> Tensor:
        """All that follows the first product `first(x)` [N, count * layers[0]]; `count`: of more experts than these."""
        hidden = self.activation(product).unflatten(1, (count or self.count, -1))  # [N, count, width]
        for layer in self.deeper:
            hidden = self.activation(layer(hidden))
        result: Tensor = hidden
        return result


class StackedLinear(nn.Module):
    """A linear layer an expert: [N, count, inputs] → [N, count, outputs]."""

    def __init__(self, count: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, inputs, outputs).normal_(std=math.sqrt(2 / (inputs + outputs))))
        self.bias = nn.Parameter(torch.zeros(count, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x.transpose(0, 1), self.weight).transpose(0, 1)


class Gate(nn.Module):
    """Mixes outputs [N, choices, width] into [N, width], weighted by softmax over the CHOICES of W selector + b."""

    def __init__(self, inputs: int, choices: int) -> None:
        super().__init__()
        self.scores = nn.Linear(inputs, choices)

    def forward(self, selector: Tensor, outputs: Tensor) -> Tensor:
        return mix(self.scores(selector), outputs)


class OutputGate(nn.Module):
    """As `Gate`, but reads no selector: each choice is scored by its own output, s_m = relu(w_m . F_m + b_m)."""

    def __init__(self, width: int, choices: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(choices, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(choices).uniform_(-bound, bound))

    def forward(self, outputs: Tensor) -> Tensor:
        return mix(((outputs * self.weight).sum(2) + self.bias).relu(), outputs)


def mix(scores: Tensor, outputs: Tensor) -> Tensor:
    """Outputs [N, choices, width] weighted by softmax(scores [N, choices]) over the choices: [N, width]."""
    return torch.bmm(scores.softmax(dim=1).unsqueeze(1), outputs).squeeze(1)
