"""MemoNet: pairs of ids, hashed into a code book that remembers them."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from training.models.features import gather
from training.models.interactions import Interaction
from training.models.parts import Part, Parts, whole

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
        generator = torch.Generator().manual_seed(20261122)
        coefficients = torch.randint(1, PRIME, (3, 2, hashes, len(columns)), generator=generator)
        self.slots, self.columns = slots, tuple(columns)
        self.register_buffer("coefficients", coefficients)
        self.coefficients: Tensor

    def forward(self, ids: Parts) -> Parts:
        """Pairs inside one part of the ids are a part; those that join two are the last."""
        values = ids.only(self.columns).each(self._values)  # [rows, chosen, 2, hashes]
        numbers = {pair: n for n, pair in enumerate(combinations(range(len(self.columns)), 2))}
        found = []
        for part in values.parts:
            inside = [pair for pair in numbers if pair[0] in part.places and pair[1] in part.places]
            pairs = tuple(numbers.pop(pair) for pair in inside)
            found.append(part._replace(values=self._addresses(part.values, part.places, inside), places=pairs))
        if numbers:
            everywhere = range(len(self.columns))
            found.append(Part(self._addresses(values.joined, everywhere, list(numbers)), tuple(numbers.values())))
        return Parts(found)

    def _values(self, ids: Tensor, places: Sequence[int]) -> Tensor:
        """f and g of each id, modulo `slots`."""
        a, b, c = self.coefficients[..., list(places)].permute(0, 3, 1, 2)  # [places, 2, hashes] each
        x = ids[:, :, None, None]
        values: Tensor = (((a * x + b) % PRIME) * x + c) % PRIME % self.slots
        return values

    def _addresses(self, values: Tensor, places: Sequence[int], pairs: Sequence[tuple[int, int]]) -> Tensor:
        first, second = (torch.tensor([places.index(pair[k]) for pair in pairs], dtype=torch.int64) for k in (0, 1))
        f, g = values.unbind(2)
        total = f.index_select(1, first.to(f.device)) + g.index_select(1, second.to(g.device))  # [rows, pairs, hashes]
        return torch.where(total >= self.slots, total - self.slots, total)


class CodeBooks(nn.Module):
    """Code books of several MemoNets, side by side in one table: what a pair remembers in all of them is one row.

    ids [N, C] → the code words of each book's pairs end to end, [N, pairs, hashes * width] a book. All books share the
    hash functions, so that addresses are computed once.
    """

    def __init__(self, columns: Sequence[int], hashes: int, slots: int, width: int, books: int) -> None:
        super().__init__()
        self.hash = PairHash(columns, hashes, slots)
        self.width, self.books = width, books
        self.table = nn.Embedding(slots, books * width)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, ids: Parts) -> list[Parts]:
        addresses = self.hash(ids)
        table = self.table.weight
        if not self.training:  # each book by itself: no words to cut apart
            return [self._words(addresses, book) for book in torch.split(table, self.width, dim=1)]
        words = addresses.each(
            lambda rows, _: gather(table, rows, self.table.sparse)
        )  # [N, pairs, hashes, books * width]
        each = [torch.split(part.values, self.width, dim=3) for part in words.parts]
        return [
            Parts(part._replace(values=of[book].flatten(2)) for part, of in zip(words.parts, each, strict=True))
            for book in range(self.books)
        ]

    @staticmethod
    def _words(addresses: Parts, book: Tensor) -> Parts:
        return addresses.each(lambda rows, _: embedding(rows, book).flatten(2))


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

    def forward(self, vectors: Parts, words: Parts, products: Sequence[Tensor] | None = None) -> Tensor:
        """`words` [N, pairs, hashes * code_width] come from the code book."""
        memory = words.each(lambda of_pair, _: self.restore(of_pair))  # [N, pairs, code_width]
        if self.shrink is not None:
            memory = whole(self.shrink(vectors, *memory.gathered))
        (from_x,) = products or self.products(vectors)
        (from_memory,) = memory.linear([self.memory_head])
        return from_x + from_memory


class _Shrink(nn.Module):
    """Weights pairs by attention over the embeddings, and sums them by field: [N, pairs, k] → [N, C, k]."""

    def __init__(self, pairs: Sequence[tuple[int, int]], chosen: Sequence[int], embedding: int) -> None:
        super().__init__()
        member = torch.tensor([[float(field in pair) for pair in pairs] for field in range(len(chosen))])
        self.register_buffer("member", member)  # [C, pairs]
        self.member: Tensor
        self.chosen = tuple(chosen)
        inputs = len(chosen) * embedding
        self.entry = nn.Linear(inputs, len(pairs))
        self.attention = nn.Linear(len(pairs), len(pairs))

    def forward(self, vectors: Parts, memory: Tensor, pairs: Sequence[int]) -> Tensor:
        """`pairs` says in which order memory holds them."""
        (hidden,) = vectors.only(self.chosen).linear([self.entry])
        order = list(pairs)
        weights = linear(hidden.relu(), self.attention.weight[order], self.attention.bias[order])  # [N, pairs]
        return self.member[:, order] @ (weights.unsqueeze(2) * memory)
