"""Feature interactions: GatedCross, MaskNet, MemoNet. Each reads field vectors [N, F, d] and returns [N, width]."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor, nn

PRIME = 2**31 - 1  # ids and coefficients below it: their products stay inside int64


class CrossLayer(nn.Module):
    """c' = c0 * (W_c c + b) * sigmoid(W_g c) + c, on [N, D]; with a rank, W = U V of that rank."""

    def __init__(self, inputs: int, rank: int | None) -> None:
        super().__init__()
        self.cross = _matrix(inputs, rank, bias=True)
        self.gate = _matrix(inputs, rank, bias=False)

    def forward(self, start: Tensor, current: Tensor) -> Tensor:
        crossed: Tensor = start * self.cross(current) * self.gate(current).sigmoid() + current
        return crossed


class GatedCross(nn.Module):
    """Gated cross layers of GDCN (Wang et al., CIKM 2023, arXiv 2311.04635), then a linear layer to `width`."""

    def __init__(self, fields: int, embedding: int, layers: int, rank: int | None, width: int) -> None:
        super().__init__()
        inputs = fields * embedding
        self.layers = nn.ModuleList(CrossLayer(inputs, rank) for _ in range(layers))
        self.head = nn.Linear(inputs, width)

    def forward(self, vectors: Tensor) -> Tensor:
        start = current = vectors.flatten(1)  # [N, D]
        for layer in self.layers:
            current = layer(start, current)
        result: Tensor = self.head(current)
        return result


class MaskBlock(nn.Module):
    """relu(LN(W (x * mask))), mask = W_2 relu(W_1 e + b_1) + b_2 as wide as x; e is the embedding [N, D]."""

    def __init__(self, embedding: int, inputs: int, reduction: float, width: int) -> None:
        super().__init__()
        hidden = max(1, round(reduction * inputs))
        self.mask = nn.Sequential(nn.Linear(embedding, hidden), nn.ReLU(), nn.Linear(hidden, inputs))
        self.linear = nn.Linear(inputs, width, bias=False)  # the norm brings the bias
        self.norm = nn.LayerNorm(width)

    def forward(self, embedding: Tensor, x: Tensor) -> Tensor:
        masked: Tensor = self.norm(self.linear(x * self.mask(embedding))).relu()
        return masked


class MaskNet(nn.Module):
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
        self.norm = FieldNorm(fields, embedding) if normalise else nn.Identity()
        first, later = inputs, inputs if self.parallel else block_width
        sizes = [first, *[later] * (blocks - 1)]
        self.blocks = nn.ModuleList(MaskBlock(inputs, size, reduction, block_width) for size in sizes)
        joined = block_width * (blocks if self.parallel else 1)
        self.head = nn.Sequential(nn.Linear(joined, width), nn.ReLU() if self.parallel else nn.Identity())

    def forward(self, vectors: Tensor) -> Tensor:
        embedding, x = vectors.flatten(1), self.norm(vectors).flatten(1)
        if self.parallel:
            x = torch.cat([block(embedding, x) for block in self.blocks], dim=1)
        else:
            for block in self.blocks:
                x = block(embedding, x)
        result: Tensor = self.head(x)
        return result


class FieldNorm(nn.Module):
    """Layer norm of each field's vector, gain and shift of its own for each field: [N, F, d] → [N, F, d]."""

    def __init__(self, fields: int, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(fields, width))
        self.shift = nn.Parameter(torch.zeros(fields, width))

    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.layer_norm(vectors, vectors.shape[-1:]) * self.gain + self.shift


class PairHash(nn.Module):
    """Addresses of all pairs of chosen id columns in a code book: ids [N, C] → [N, pairs, hashes], in [0, slots).

    H_t(i, x, j, y) = (f_ti(x) + g_tj(y)) mod slots: tabulation hashing, where each f and g is a random polynomial of
    degree 2 over the integers modulo a prime, taken modulo `slots` (three-wise independent, Wegman and Carter 1981).
    Only the polynomials cost divisions, and they are one a field, not one a pair. The coefficients are buffers, so that
    they travel with the weights.
    """

    def __init__(self, columns: Sequence[int], hashes: int, slots: int) -> None:
        super().__init__()
        pairs = torch.tensor(list(combinations(range(len(columns)), 2)), dtype=torch.int64)  # [pairs, 2]
        generator = torch.Generator().manual_seed(20261122)
        coefficients = torch.randint(1, PRIME, (3, 2, hashes, len(columns)), generator=generator)
        self.slots = slots
        self.register_buffer("columns", torch.tensor(list(columns), dtype=torch.int64))
        self.register_buffer("first", pairs[:, 0].contiguous())
        self.register_buffer("second", pairs[:, 1].contiguous())
        self.register_buffer("coefficients", coefficients)
        self.columns: Tensor
        self.first: Tensor
        self.second: Tensor
        self.coefficients: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        a, b, c = self.coefficients  # [2, hashes, C]
        x = ids.index_select(1, self.columns)[:, None, None, :]  # [N, 1, 1, chosen]
        values = (((a * x + b) % PRIME) * x + c) % PRIME % self.slots  # [N, 2, hashes, chosen]
        total = values[:, 0].index_select(2, self.first) + values[:, 1].index_select(2, self.second)
        return torch.where(total >= self.slots, total - self.slots, total).transpose(1, 2)


class MemoNet(nn.Module):
    """MemoNet (Zhang and Zhang, arXiv 2211.01334): remembers pairs of ids in one code book.

    Linear memory restoring: v = W concat_t(C[H_t]). With `shrink`, global attentive shrinking: V_i = sum of R_ij v_ij
    over the pairs of field i, where R, one weight a pair, comes from all interacting embeddings. A linear layer on
    concat(embedding, V or v) gives `width`. `chosen` are the fields that interact, as positions among the vectors.
    """

    def __init__(
        self,
        fields: int,
        embedding: int,
        chosen: Sequence[int],
        hashes: int,
        slots: int,
        code_width: int,
        shrink: bool,
        width: int,
    ) -> None:
        super().__init__()
        pairs = list(combinations(range(len(chosen)), 2))
        self.codes = nn.Embedding(slots, code_width)
        self.restore = nn.Linear(hashes * code_width, code_width, bias=False)
        self.shrink = _Shrink(pairs, chosen, embedding) if shrink else None
        memories = (len(chosen) if shrink else len(pairs)) * code_width
        self.head = nn.Linear(fields * embedding + memories, width)
        nn.init.normal_(self.codes.weight, std=0.1)

    def forward(self, vectors: Tensor, addresses: Tensor) -> Tensor:
        memory = self.restore(self.codes(addresses).flatten(2))  # [N, pairs, code_width]
        if self.shrink is not None:
            memory = self.shrink(vectors, memory)
        result: Tensor = self.head(torch.cat([vectors.flatten(1), memory.flatten(1)], dim=1))
        return result


class _Shrink(nn.Module):
    """Weights pairs by attention over the embeddings, and sums them by field: [N, pairs, k] → [N, C, k]."""

    def __init__(self, pairs: Sequence[tuple[int, int]], chosen: Sequence[int], embedding: int) -> None:
        super().__init__()
        member = torch.tensor([[float(field in pair) for pair in pairs] for field in range(len(chosen))])
        self.register_buffer("member", member)  # [C, pairs]
        self.register_buffer("chosen", torch.tensor(list(chosen), dtype=torch.int64))
        self.member: Tensor
        self.chosen: Tensor
        inputs = len(chosen) * embedding
        self.attention = nn.Sequential(nn.Linear(inputs, len(pairs)), nn.ReLU(), nn.Linear(len(pairs), len(pairs)))

    def forward(self, vectors: Tensor, memory: Tensor) -> Tensor:
        weights = self.attention(vectors.index_select(1, self.chosen).flatten(1))  # [N, pairs]
        fields: Tensor = self.member @ (weights.unsqueeze(2) * memory)
        return fields


def _matrix(inputs: int, rank: int | None, bias: bool) -> nn.Module:
    if rank is None or rank >= inputs:
        return nn.Linear(inputs, inputs, bias=bias)
    down = nn.Linear(inputs, rank, bias=False)
    nn.init.normal_(down.weight, std=1 / math.sqrt(inputs))
    return nn.Sequential(down, nn.Linear(rank, inputs, bias=bias))
