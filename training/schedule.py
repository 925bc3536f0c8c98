"""The learning rate over the steps: a function of the step alone, so that there is nothing to save."""

import math
from typing import Literal

Shape = Literal["constant", "linear", "cosine"]


def rate(step: int, shape: Shape, warmup: int, total: int) -> float:
    """What the learning rate is multiplied with at a step, counted from 0: up to 1 over `warmup`, then down to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = 1 - (step - warmup) / max(1, total - warmup)
    match shape:
        case "constant":
            return 1.0
        case "linear":
            return max(0.0, left)
        case "cosine":
            return 0.5 - 0.5 * math.cos(math.pi * max(0.0, left))
