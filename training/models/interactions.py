"""Feature interactions: GatedCross and MaskNet (MemoNet has a file of its own). Field vectors [N, F, d] → [N, width].

Vectors come in parts, so that what needs one field alone, and the first layers, are computed before the parts meet.

The layers of a module that read the flattened vectors x are its `first` layers: their products may come from outside,
where those of many modules are computed at once.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from training.models.parts import Parts


class Interaction(nn.Module):
    """A module whose `first` layers read x; `forward` takes their products, or computes them."""

    @property
    def first(self) -> list[nn.Linear]:
        """The layers that read x."""
        raise NotImplementedError

    def products(self, vectors: Parts) -> list[Tensor]:
        """Products of the first layers with x."""
        return vectors.linear(self.first)


class CrossLayer(nn.Module):
    """c' = c0 * (W_c c + b) * sigmoid(W_g c) + c, on [N, D]; with a rank, W = U V of that rank."""

    def __init__(self, inputs: int, rank: int | None) -> None:
        super().__init__()
        self.cross = _matrix(inputs, rank, bias=True)
        self.gate = _matrix(inputs, rank, bias=False)

    @property
    def first(self) -> list[nn.Linear]:
        """The layers that read c."""
        return [_entry(self.cross), _entry(self.gate)]

    def forward(self, start: Tensor, current: Tensor, products: Sequence[Tensor] | None = None) -> Tensor:
        cross, gate = [layer(current) for layer in self.first] if products is None else products
        crossed: Tensor = start * _leave(self.cross, cross) * _leave(self.gate, gate).sigmoid() + current
        return crossed


class GatedCross(Interaction):
    """Gated cross layers of GDCN (Wang et al., CIKM 2023, arXiv 2311.04635), then a linear layer to `width`."""

    def __init__(self, fields: int, embedding: int, layers: int, rank: int | None, width: int) -> None:
        super().__init__()
        inputs = fields * embedding
        self.layers = nn.ModuleList(CrossLayer(inputs, rank) for _ in range(layers))
        self.head = nn.Linear(inputs, width)

    @property
    def first(self) -> list[nn.Linear]:
        layer = self.layers[0]
        assert isinstance(layer, CrossLayer)
        return layer.first

    def forward(self, vectors: Parts, products: Sequence[Tensor] | None = None) -> Tensor:
        start = current = vectors.joined.flatten(1)  # [N, D]
        for depth, layer in enumerate(self.layers):
            current = layer(start, current, products if depth == 0 else None)
        result: Tensor = self.head(current)
        return result


class MaskBlock(nn.Module):
    """relu(LN(W (x * mask))), mask = W_2 relu(p) + b_2 as wide as x; p = W_1 e + b_1 of the embedding e [N, D]."""

    def __init__(self, embedding: int, inputs: int, reduction: float, width: int) -> None:
        super().__init__()
        hidden = max(1, round(reduction * inputs))
        self.mask = nn.Sequential(nn.Linear(embedding, hidden), nn.ReLU(), nn.Linear(hidden, inputs))
        self.linear = nn.Linear(inputs, width, bias=False)  # the norm brings the bias
        self.norm = nn.LayerNorm(width)

    def forward(self, product: Tensor, x: Tensor) -> Tensor:
        masked: Tensor = self.norm(self.linear(x * self.mask[2](product.relu()))).relu()
        return masked


class MaskNet(Interaction):
    """MaskNet (Wang et al., DLP-KDD 2021, arXiv 2102.07619).

    parallel: every block masks the normalised embedding, and a relu layer joins the blocks;
    serial: each block masks the output of the one before it, and a linear layer ends the stack.
    """

    def __init__(
        self,
        fields: int,
        embedding: int,
        form: Literal["parallel", "serial"],
        blocks: int,
        block_width: int,
        reduction: float,
        normalise: bool,
        width: int,
    ) -> None:
        super().__init__()
        inputs, self.parallel = fields * embedding, form == "parallel"
        self.norm = FieldNorm(fields, embedding) if normalise else None
        first, later = inputs, inputs if self.parallel else block_width
        sizes = [first, *[later] * (blocks - 1)]
        self.blocks = nn.ModuleList(MaskBlock(inputs, size, reduction, block_width) for size in sizes)
        joined = block_width * (blocks if self.parallel else 1)
        self.head = nn.Sequential(nn.Linear(joined, width), nn.ReLU() if self.parallel else nn.Identity())

    @property
    def first(self) -> list[nn.Linear]:
        layers = [block.mask[0] for block in self.blocks if isinstance(block, MaskBlock)]
        return [layer for layer in layers if isinstance(layer, nn.Linear)]

    def forward(self, vectors: Parts, products: Sequence[Tensor] | None = None) -> Tensor:
        masks, normed = products or self.products(vectors), vectors if self.norm is None else vectors.each(self.norm)
        x = normed.joined.flatten(1)
        if self.parallel:
            x = torch.cat([block(mask, x) for block, mask in zip(self.blocks, masks, strict=True)], dim=1)
        else:
            for block, mask in zip(self.blocks, masks, strict=True):
                x = block(mask, x)
        result: Tensor = self.head(x)
        return result


class FieldNorm(nn.Module):
    """Layer norm of each field's vector, gain and shift of its own for each field: [N, places, d] → the same."""

    def __init__(self, fields: int, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(fields, width))
        self.shift = nn.Parameter(torch.zeros(fields, width))

    def forward(self, vectors: Tensor, places: Sequence[int]) -> Tensor:
        normed = nn.functional.layer_norm(vectors, vectors.shape[-1:])
        if len(places) == len(self.gain):
            return normed * self.gain + self.shift
        return normed * self.gain[list(places)] + self.shift[list(places)]


def _matrix(inputs: int, rank: int | None, bias: bool) -> nn.Module:
    if rank is None or rank >= inputs:
        return nn.Linear(inputs, inputs, bias=bias)
    down = nn.Linear(inputs, rank, bias=False)
    nn.init.normal_(down.weight, std=1 / math.sqrt(inputs))
    return nn.Sequential(down, nn.Linear(rank, inputs, bias=bias))


def _entry(matrix: nn.Module) -> nn.Linear:
    """The first linear layer of a matrix, which is whole or of low rank."""
    layer = matrix[0] if isinstance(matrix, nn.Sequential) else matrix
    assert isinstance(layer, nn.Linear)
    return layer


def _leave(matrix: nn.Module, product: Tensor) -> Tensor:
    """What follows the first linear layer."""
    result: Tensor = matrix[1](product) if isinstance(matrix, nn.Sequential) else product
    return result
