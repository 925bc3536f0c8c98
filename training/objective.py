"""What is minimised, as one module: a model, and the weights of its tasks."""

import torch
from torch import Tensor, nn

from training.config import Recipe
from training.models import Ranker
from training.weighting import TaskWeighting


class Objective(nn.Module):
    """A batch → sums of losses and numbers of rows [tasks]; DistributedDataParallel wraps it.

    With `narrow` the model computes in bfloat16, its losses in float32.
    """

    def __init__(self, model: Ranker, recipe: Recipe, narrow: bool) -> None:
        super().__init__()
        self.model, self.narrow = model, narrow
        heads = dict(zip(model.tasks, model.each_head, strict=True))
        self.weighting = TaskWeighting(
            heads, recipe.task_weights, recipe.task_weight_decay, recipe.uncertainty_weighting
        )

    @property
    def plain(self) -> bool:
        """Whether the model leaves its gradients to autograd, so that DistributedDataParallel's hooks see them."""
        return type(self.model).backward is Ranker.backward

    def forward(
        self,
        request_ids: Tensor,
        request_dense: Tensor,
        item_ids: Tensor,
        item_dense: Tensor,
        labels: Tensor,
        counted: Tensor,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=self.narrow):
            raw = self.model.raw(request_ids, request_dense, item_ids, item_dense)
        return self.model.losses(raw.float(), labels, counted)
