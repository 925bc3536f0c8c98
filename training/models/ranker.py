"""What every model shares: the graph's inputs, the embedding of both sides, and one output a task."""

from typing import Annotated

import torch
from pydantic import Field as Attribute
from torch import Tensor, nn

from contract.errors import ConfigError
from contract.schema import Schema, Strict
from training.models.embedding import SideEmbedding

Width = Annotated[int, Attribute(ge=1)]


class ModelSettings(Strict):
    """Settings of every model."""

    embedding: Width = 16
    embedding_std: float = Attribute(default=0.25, gt=0)
    tower: tuple[Width, ...] = (64,)
    dropout: float = Attribute(default=0.0, ge=0, lt=1)


class Ranker(nn.Module):
    """A multi-task model: N candidates of R requests → one probability a candidate and task.

    Inputs, columns as contract.schema lays out `request_fields` and `item_fields`: request_ids [R, Fr] and item_ids
    [N, Fi] int32, request_dense [R, Dr] and item_dense [N, Di] float32, request_of_item [N] in [0, R).
    """

    def __init__(self, schema: Schema, settings: ModelSettings) -> None:
        super().__init__()
        if late := [task.name for task in schema.tasks if task.kind != "binary"]:
            raise ConfigError(f"task '{late[0]}' is continuous: only binary tasks can be trained yet; remove it")
        self.tasks = tuple(task.name for task in schema.tasks)
        sides = (schema.request_fields, schema.item_fields)
        self.request, self.item = (SideEmbedding(side, settings.embedding, settings.embedding_std) for side in sides)
        self.field_names = self.request.names + self.item.names  # the order of `vectors` in `score`
        self.categorical = self.request.categorical + self.item.categorical  # the order of `ids` there

    def forward(
        self,
        request_ids: Tensor,
        request_dense: Tensor,
        item_ids: Tensor,
        item_dense: Tensor,
        request_of_item: Tensor,
    ) -> tuple[Tensor, ...]:
        """Probabilities, [N] a task in schema order."""
        logits = self.logits(request_ids, request_dense, item_ids, item_dense, request_of_item)
        return tuple(logits.sigmoid().unbind(1))

    def logits(
        self,
        request_ids: Tensor,
        request_dense: Tensor,
        item_ids: Tensor,
        item_dense: Tensor,
        request_of_item: Tensor,
    ) -> Tensor:
        """Logits [N, tasks]. What depends on the request alone is computed once a request, then gathered."""
        vectors, ids = [], []
        if self.request.names:
            request, safe = self.request(request_ids, request_dense)
            vectors.append(request.index_select(0, request_of_item))
            ids.append(safe.index_select(0, request_of_item))
        if self.item.names:
            item, safe = self.item(item_ids, item_dense)
            vectors.append(item)
            ids.append(safe)
        return self.score(torch.cat(vectors, dim=1), torch.cat(ids, dim=1))

    def measure(self, request_dense: Tensor, item_dense: Tensor) -> None:
        """Fit what is measured rather than learnt, the knots of numeric fields, to training rows; before training."""
        self.request.numbers.measure(request_dense)
        self.item.numbers.measure(item_dense)

    def score(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """Logits [N, tasks] of field vectors [N, F, d] and the ids [N, C] of the categorical fields."""
        raise NotImplementedError
