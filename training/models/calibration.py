"""Calibration inside the graph: logit → logit. Identity until `training.calibration` fits it on validation."""

from typing import Literal

import torch
from torch import Tensor, nn

Method = Literal["none", "platt", "isotonic"]
KNOTS = 33
SPAN = 20.0  # logits beyond it differ by less than 1e-8 as probabilities


class Calibration(nn.Module):
    """platt: a z + b (Platt 1999); isotonic: monotone, linear between KNOTS knots, constant beyond them."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        if method == "platt":
            self.register_buffer("line", torch.tensor([1.0, 0.0]))
        if method == "isotonic":
            self.register_buffer("knots", torch.linspace(-SPAN, SPAN, KNOTS).repeat(2, 1))
        self.line: Tensor  # slope, intercept
        self.knots: Tensor  # [2, KNOTS]: logits before and after

    def forward(self, logits: Tensor) -> Tensor:
        if self.method == "platt":
            return logits * self.line[0] + self.line[1]
        if self.method == "isotonic":
            before, after = self.knots
            width = before.diff()  # > 0
            filled = ((logits.unsqueeze(1) - before[:-1]) / width).clamp(0, 1)  # [N, KNOTS - 1]
            risen: Tensor = after[0] + (filled * after.diff()).sum(1)
            return risen
        return logits
