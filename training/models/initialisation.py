"""First weights of relu layers: normal Glorot (2010), which on census beat torch's own narrower uniform draw."""

import math

from torch import nn


def xavier(layer: nn.Linear, outputs: int) -> nn.Linear:
    """The layer with weights from N(0, 2 / (inputs + outputs)), biases 0; `outputs`: of one of the networks in it."""
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.in_features + outputs)))
    nn.init.zeros_(layer.bias)
    return layer
