"""Tensors kept in parts by what they depend on: a request, an item, or both.

A candidate joins a request and an item. What depends on the request alone is the same for all its candidates, what
depends on the item alone is the same for all requests, so each is computed once for its own rows and only gathered to
candidates where the two meet. A linear layer meets late: W[u; i] = W_u u + W_i i. Training has one part, row by row.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Part(NamedTuple):
    """Some places along axis 1 of a whole: values [rows, places, …]."""

    values: Tensor
    places: tuple[int, ...]
    row_of: Tensor | None = None  # [N], the row of each candidate; None: row n is candidate n

    def gathered(self, values: Tensor) -> Tensor:
        """Values of this part's rows [rows, …] → of candidates [N, …]."""
        return values if self.row_of is None else values.index_select(0, self.row_of)


class Parts:
    """A tensor [N, places, …] in parts."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = [part for part in parts if part.places]
        self.count = sum(len(part.places) for part in self.parts)

    def each(self, function: Callable[[Tensor, tuple[int, ...]], Tensor]) -> "Parts":
        """A function of each place by itself, [rows, places, …] and those places → [rows, places, …]."""
        return Parts(part._replace(values=function(part.values, part.places)) for part in self.parts)

    def only(self, places: Sequence[int]) -> "Parts":
        """These places, counted anew in the order given."""
        if list(places) == list(range(self.count)):
            return self
        new = {place: n for n, place in enumerate(places)}
        found = []
        for part in self.parts:
            at = {place: n for n, place in enumerate(part.places)}
            kept = [place for place in places if place in at]
            values = part.values.index_select(1, torch.tensor([at[place] for place in kept], device=part.values.device))
            found.append(part._replace(values=values, places=tuple(new[place] for place in kept)))
        return Parts(found)

    def linear(self, layers: Sequence[nn.Linear]) -> list[Tensor]:
        """[layer(x) for layer in layers], x the joined tensor flattened to [N, D]."""
        if self._whole:
            x = self.parts[0].values.flatten(1)
            return [layer(x) for layer in layers]
        return list(torch.split(self.affine(*stacked(layers)), [layer.out_features for layer in layers], dim=1))

    def affine(self, weight: Tensor, bias: Tensor) -> Tensor:
        """x weight' + bias, [N, H], for weight [H, D] and bias [H]."""
        if self._whole:
            return linear(self.parts[0].values.flatten(1), weight, bias)
        sums = dict[int, Part]()  # by rows: parts of the same rows add up before they are gathered
        for part in self.parts:
            columns = weight.view(len(weight), self.count, -1)[:, list(part.places)].flatten(1)
            product = linear(part.values.flatten(1), columns, None if sums else bias)
            known = sums.get(id(part.row_of))
            sums[id(part.row_of)] = part._replace(values=product if known is None else known.values + product)
        first, *others = (part.gathered(part.values) for part in sums.values())
        return sum(others, first)

    @cached_property
    def joined(self) -> Tensor:
        """[N, places, …]."""
        values, places = self.gathered
        order = sorted(range(self.count), key=places.__getitem__)
        in_order = order == list(range(self.count))
        return values if in_order else values.index_select(1, torch.tensor(order, device=values.device))

    @cached_property
    def gathered(self) -> tuple[Tensor, list[int]]:
        """[N, places, …] part by part, and the places in that order: cheaper, where weights can follow the order."""
        places = [place for part in self.parts for place in part.places]
        values = [part.gathered(part.values) for part in self.parts]
        return values[0] if len(values) == 1 else torch.cat(values, dim=1), places

    @property
    def _whole(self) -> bool:
        (first, *others) = self.parts
        return not others and first.row_of is None and first.places == tuple(range(self.count))


def whole(values: Tensor) -> Parts:
    """One part: [N, places, …], row n is candidate n's."""
    return Parts([Part(values, tuple(range(values.shape[1])))])


def stacked(layers: Sequence[nn.Linear]) -> tuple[Tensor, Tensor]:
    """Weights [H, D] and biases [H] of layers that read the same input; 0 where a layer has none."""
    weight = torch.cat([layer.weight for layer in layers])
    biased = ["bias" in dict(layer.named_parameters()) for layer in layers]
    pairs = zip(layers, biased, strict=True)
    return weight, torch.cat([layer.bias if has else weight.new_zeros(layer.out_features) for layer, has in pairs])
