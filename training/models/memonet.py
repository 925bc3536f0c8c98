"""MemoNet: pairs of ids, hashed into a code book that remembers them."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from training.models.features import gather
from training.models.interactions import Interaction

PRIME = 2**31 - 1  # ids and coefficients below it: their products stay inside int64


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


class CodeBooks(nn.Module):
    """Code books of several MemoNets, side by side in one table: what a pair remembers in all of them is one row.

    ids [N, C] → the code words of each book's pairs end to end, [N, pairs, hashes * width] a book. All books share the
    hash functions, so that addresses are computed once.
    """

    def __init__(self, columns: Sequence[int], hashes: int, slots: int, width: int, books: int) -> None:
        super().__init__()
        self.hash = PairHash(columns, hashes, slots)
        self.width = width
        self.table = nn.Embedding(slots, books * width)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, ids: Tensor) -> list[Tensor]:
        words = gather(self.table.weight, self.hash(ids), self.table.sparse)  # [N, pairs, hashes, books * width]
        return [book.flatten(2) for book in torch.split(words, self.width, dim=3)]


class MemoNet(Interaction):
    """MemoNet (Zhang and Zhang, arXiv 2211.01334): remembers pairs of ids in a code book.

    Linear memory restoring: v = W concat_t(C[H_t]). With `shrink`, global attentive shrinking: V_i = sum of R_ij v_ij
    over the pairs of field i, where R, one weight a pair, comes from all interacting embeddings. A linear layer on
    concat(embedding, V or v) gives `width`. `chosen` are the fields that interact, as positions among the vectors.
    """

    def __init__(
        self, fields: int, embedding: int, chosen: Sequence[int], hashes: int, code_width: int, shrink: bool, width: int
    ) -> None:
        super().__init__()
        pairs = list(combinations(range(len(chosen)), 2))
        self.restore = nn.Linear(hashes * code_width, code_width, bias=False)
        self.shrink = _Shrink(pairs, chosen, embedding) if shrink else None
        memories = (len(chosen) if shrink else len(pairs)) * code_width
        self.head = nn.Linear(fields * embedding, width)
        self.memory_head = nn.Linear(memories, width, bias=False)

    @property
    def first(self) -> list[nn.Linear]:
        return [self.head]

    def forward(self, vectors: Tensor, words: Tensor, products: Sequence[Tensor] | None = None) -> Tensor:
        """`words` [N, pairs, hashes * code_width] come from the code book."""
        memory = self.restore(words)  # [N, pairs, code_width]
        if self.shrink is not None:
            memory = self.shrink(vectors, memory)
        (from_x,) = products or self.products(vectors)
        result: Tensor = from_x + self.memory_head(memory.flatten(1))
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
