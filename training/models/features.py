"""What models read: field vectors, ids, and the first layers' products with them.

`BaggedFeatures` computes those products without ever forming most of x. Since x is a concatenation of table rows,

    x W = sum over fields f of E_f[id_f] W_f = sum over f of (E_f W_f)[id_f],

a field with few ids needs one product of its small table and a sum of rows of the result: exact, and a fraction of the
work when a batch has more rows than the field has ids. Numbers are three weighted rows of a table (see embedding.py).
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, embedding_bag, linear

from training.models.parts import Parts, stacked, whole


class Features(Protocol):
    """Field vectors [N, F, d], ids [N, C] of the categorical fields, and x = flattened vectors times linear layers."""

    @property
    def vectors(self) -> Parts: ...

    @property
    def ids(self) -> Parts: ...

    def linear(self, layers: Sequence[nn.Linear]) -> list[Tensor]:
        """[layer(x) for layer in layers]."""
        ...

    def affine(self, weight: Tensor, bias: Tensor) -> Tensor:
        """x weight' + bias, [N, H], for weight [H, D] and bias [H]."""
        ...

    def split(self, count: int) -> "Sequence[Features]":
        """The same fields, each vector cut into `count` slices of equal width."""
        ...


class PartedFeatures:
    """Vectors that are there, in parts: the form of the split graphs."""

    def __init__(self, vectors: Parts, ids: Parts) -> None:
        self.vectors, self.ids = vectors, ids

    def linear(self, layers: Sequence[nn.Linear]) -> list[Tensor]:
        return self.vectors.linear(layers)

    def affine(self, weight: Tensor, bias: Tensor) -> Tensor:
        return self.vectors.affine(weight, bias)

    def split(self, count: int) -> "list[PartedFeatures]":
        def slice_(n: int) -> Parts:
            return self.vectors.each(lambda vectors, _: vectors.chunk(count, dim=2)[n])

        return [PartedFeatures(slice_(n), self.ids) for n in range(count)]


class GatheredFeatures(PartedFeatures):
    """Vectors [N, F, d] and ids [N, C], row by row: the form of the whole graph, and the form for GPUs."""

    def __init__(self, vectors: Tensor, ids: Tensor) -> None:
        super().__init__(whole(vectors), whole(ids))


class Block(NamedTuple):
    """One field with few ids: its rows [start, stop) in the table, and its place among the fields of x."""

    start: int
    stop: int
    field: int


class Lookup(NamedTuple):
    """Which table rows make up the fields: row numbers [N, S], weights [N, S], the field of each slot [S]."""

    rows: Tensor
    weights: Tensor
    fields: list[int]


class BaggedFeatures:
    """Vectors as weighted sums of rows of one table [V, d]; `blocks` are the fields that products are factored over."""

    def __init__(self, table: Tensor, lookup: Lookup, blocks: Sequence[Block], fields: int, ids: Tensor) -> None:
        self.table, self.lookup, self.blocks, self.fields = table, lookup, list(blocks), fields
        self.ids = whole(ids)

    @cached_property
    def vectors(self) -> Parts:
        """[N, F, d], one part."""
        return whole(self._vectors(range(self.fields)))

    def linear(self, layers: Sequence[nn.Linear]) -> list[Tensor]:
        return list(torch.split(self.affine(*stacked(layers)), [layer.out_features for layer in layers], dim=1))

    def affine(self, weight: Tensor, bias: Tensor) -> Tensor:
        factored = {block.field for block in self.blocks}
        rest = [field for field in range(self.fields) if field not in factored]
        columns = weight.view(len(weight), self.fields, -1)[:, rest].flatten(1)
        terms = [linear(self._vectors(rest).flatten(1), columns)] if rest else []
        terms += [self._factored(weight)] if factored else []
        return sum(terms[1:], terms[0]) + bias

    def split(self, count: int) -> "list[BaggedFeatures]":
        tables = self.table.chunk(count, dim=1)  # at once: the gradient of the table is put together once
        (ids,) = self.ids.parts
        return [BaggedFeatures(table, self.lookup, self.blocks, self.fields, ids.values) for table in tables]

    def _vectors(self, fields: Sequence[int]) -> Tensor:
        """Vectors of these fields [N, fields, d]: one gather, then a sum over each field's slots."""
        places = {field: place for place, field in enumerate(fields)}
        slots = [slot for slot, field in enumerate(self.lookup.fields) if field in places]
        rows = gather(self.table, self.lookup.rows[:, slots]) * self.lookup.weights[:, slots, None]
        if len(slots) == len(places):
            return rows
        place = torch.tensor([places[self.lookup.fields[slot]] for slot in slots])
        return rows.new_zeros(len(rows), len(places), rows.shape[2]).index_add(1, place, rows)

    def _factored(self, weight: Tensor) -> Tensor:
        """Products of the factored fields: [N, H]."""
        starts, shift = {}, 0
        for block in self.blocks:
            starts[block.field] = block.start - shift
            shift += block.stop - block.start
        slots = [slot for slot, field in enumerate(self.lookup.fields) if field in starts]
        down = torch.tensor([starts[self.lookup.fields[slot]] for slot in slots])
        rows, weights = self.lookup.rows[:, slots] - down, self.lookup.weights[:, slots]
        result: Tensor = _BagLinear.apply(self.table, weight, rows, weights, self.blocks)  # type: ignore[no-untyped-call]
        return result


class _BagLinear(torch.autograd.Function):
    """Sum over slots s of weights[:, s] * P[rows[:, s]], where P stacks E_f W_f over the blocks: [N, H]."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, weight: Tensor, rows: Tensor, weights: Tensor, blocks: Sequence[Block]
    ) -> Tensor:
        ctx.save_for_backward(table, weight, rows, weights)
        ctx.blocks, width = blocks, table.shape[1]
        products = table.new_empty(sum(b.stop - b.start for b in blocks), len(weight))
        for block, part in _parts(blocks, products):
            torch.mm(table[block.start : block.stop], weight[:, _columns(block, width)].T, out=part)
        return embedding_bag(rows, products, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        table, weight, rows, weights = ctx.saved_tensors
        products = _transposed_bag(grads[0], rows, weights, sum(b.stop - b.start for b in ctx.blocks))
        table_grad, weight_grad = torch.zeros_like(table), torch.zeros_like(weight)
        for block, part in _parts(ctx.blocks, products):
            ids, columns = slice(block.start, block.stop), _columns(block, table.shape[1])
            torch.mm(part, weight[:, columns], out=table_grad[ids])
            weight_grad[:, columns] = part.T @ table[ids]
        return table_grad, weight_grad, None, None, None


def gather(table: Tensor, rows: Tensor, sparse: bool = False) -> Tensor:
    """table[rows]; on a CPU with a gradient that is a bag, several times as fast as adding row by row.

    A `sparse` gradient holds only the rows met.
    """
    if sparse or table.is_cuda or not torch.is_grad_enabled():
        return embedding(rows, table, sparse=sparse)
    found: Tensor = _Gather.apply(table, rows)  # type: ignore[no-untyped-call]
    return found


class _Gather(torch.autograd.Function):
    """table [V, d] and rows [...] → [..., d]."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.count = len(table)
        return embedding(rows, table)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        each = rows.reshape(-1, 1)
        return _transposed_bag(grads[0].flatten(0, -2), each, None, ctx.count), None


def _transposed_bag(grad: Tensor, rows: Tensor, weights: Tensor | None, count: int) -> Tensor:
    """Gradient of an embedding bag in its table [count, H]: itself a bag, of the rows that met each table row."""
    met, order = rows.flatten().to(torch.int32).sort()
    offsets = torch.searchsorted(met, torch.arange(count, dtype=torch.int32))
    sources = order.div(rows.shape[1], rounding_mode="floor")
    shares = None if weights is None else weights.flatten()[order]
    return embedding_bag(sources, grad, offsets, mode="sum", per_sample_weights=shares)


def _parts(blocks: Sequence[Block], products: Tensor) -> list[tuple[Block, Tensor]]:
    return list(zip(blocks, torch.split(products, [b.stop - b.start for b in blocks]), strict=True))


def _columns(block: Block, width: int) -> slice:
    return slice(block.field * width, (block.field + 1) * width)
