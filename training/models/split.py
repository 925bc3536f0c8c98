"""A ranker as three: what depends on the request alone, on the item alone, and on both. The same function, exactly."""

from collections.abc import Sequence

from torch import Tensor, nn

from contract.schema import Schema, Side
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
        vectors, ids = list[Part](), list[Part]()
        for side, side_ids, dense, row_of in (
            (self.ranker.request, request_ids, request_dense, request_of_item),
            (self.item, item_ids, item_dense, item_rows),
            (self.cross, cross_ids, cross_dense, None),
        ):
            if side.names:
                embedded, safe = side(side_ids, dense)
                vectors.append(Part(embedded, _places(side.names, self.ranker.field_names), row_of))
                ids.append(Part(safe, _places(side.categorical, self.ranker.categorical), row_of))
        return self.ranker.values(self.ranker.score(PartedFeatures(Parts(vectors), Parts(ids))))


def _places(names: Sequence[str], all_names: Sequence[str]) -> tuple[int, ...]:
    return tuple(all_names.index(name) for name in names)
