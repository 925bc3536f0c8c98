"""A ranker as three: what depends on the request alone, on the item alone, and on both. The same function, exactly."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from contract.schema import Schema, Side
from training.models.embedding import SideEmbedding
from training.models.features import PartedFeatures
from training.models.parts import Part, Parts
from training.models.ranker import Ranker


class SplitRanker(nn.Module):
    """A trained ranker over N candidates, each of which names a row of R requests and a row of M items.

    Inputs: as the ranker's, but stored item fields [M, …] apart from cross fields [N, …], which come with a candidate.
    """

    def __init__(self, ranker: Ranker, schema: Schema) -> None:
        super().__init__()
        self.ranker = ranker
        self.item, self.cross = ranker.item.only(schema.on(Side.ITEM)), ranker.item.only(schema.on(Side.CROSS))

    def forward(
        self,
        request_ids: Tensor,
        request_dense: Tensor,
        item_ids: Tensor,
        item_dense: Tensor,
        cross_ids: Tensor,
        cross_dense: Tensor,
        request_of_item: Tensor,
        item_rows: Tensor,
    ) -> tuple[Tensor, ...]:
        """Values, [N] a task in schema order."""
        return self.values(
            (self.ranker.request, request_ids, request_dense, request_of_item),
            (self.item, item_ids, item_dense, item_rows),
            (self.cross, cross_ids, cross_dense, None),
        )

    def values(self, *sides: tuple[SideEmbedding, Tensor, Tensor, Tensor | None]) -> tuple[Tensor, ...]:
        """The same of sides: what embeds them, their ids and numbers, and the row of each candidate (None: its own)."""
        vectors, ids = list[Part](), list[Part]()
        for side, side_ids, dense, row_of in sides:
            if side.names:
                embedded, safe = side(side_ids, dense)
                vectors.append(Part(embedded, _places(side.names, self.ranker.field_names), row_of))
                ids.append(Part(safe, _places(side.categorical, self.ranker.categorical), row_of))
        return self.ranker.values(self.ranker.score(PartedFeatures(Parts(vectors), Parts(ids))))


class PlainRanker(nn.Module):
    """A split ranker over candidates that bring no cross features: the defaults are the same for all of a request."""

    def __init__(self, split: SplitRanker, cross_ids: Tensor, cross_dense: Tensor) -> None:
        """Defaults of the cross fields, [slots] and [numerics]."""
        super().__init__()
        self.split = split
        self.register_buffer("cross_ids", cross_ids)
        self.register_buffer("cross_dense", cross_dense)
        self.cross_ids: Tensor
        self.cross_dense: Tensor

    def forward(
        self,
        request_ids: Tensor,
        request_dense: Tensor,
        item_ids: Tensor,
        item_dense: Tensor,
        request_of_item: Tensor,
        item_rows: Tensor,
    ) -> tuple[Tensor, ...]:
        """Values, [N] a task in schema order."""
        split = self.split
        # a row of zeros a request, [R, 1], without asking for R
        none = request_ids[:, :1] * 0 if request_ids.shape[1] else (request_dense[:, :1] * 0).to(torch.int32)
        return split.values(
            (split.ranker.request, request_ids, request_dense, request_of_item),
            (split.item, item_ids, item_dense, item_rows),
            (split.cross, none + self.cross_ids, none + self.cross_dense, request_of_item),
        )


def _places(names: Sequence[str], all_names: Sequence[str]) -> tuple[int, ...]:
    return tuple(all_names.index(name) for name in names)
