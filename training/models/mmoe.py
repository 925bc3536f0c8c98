"""MMoE, multi-gate mixture of experts (Ma et al., KDD 2018).

y_k = t_k(sum_i g_k(x)_i f_i(x)), g_k(x) = softmax(W_k x) over the experts f_i, which all tasks share.

Departures: the gates have a bias. `experts: 1` leaves the shared bottom.
"""

from pydantic import Field as Attribute
from torch import Tensor, cat, nn

from contract.schema import Schema
from training.models.experts import Experts, mix
from training.models.features import Features
from training.models.ranker import ModelSettings, Ranker, Width


class MMoESettings(ModelSettings):
    """Settings of MMoE."""

    experts: Width = 6
    expert_layers: tuple[Width, ...] = Attribute(default=(128, 128), min_length=1)


class MMoE(Ranker):
    """Experts that all tasks share, a gate and a tower a task."""

    def __init__(self, schema: Schema, settings: MMoESettings) -> None:
        super().__init__(schema, settings)
        inputs = len(self.field_names) * settings.embedding
        self.experts = Experts(inputs, settings.experts, settings.expert_layers, settings.dropout)
        self.gates = nn.Linear(inputs, len(self.tasks) * settings.experts)  # all W_k, one below the other
        self.towers = self.task_towers(settings.expert_layers[-1], settings)

    def score(self, features: Features) -> Tensor:
        product, scores = features.linear([self.experts.first, self.gates])
        outputs = self.experts.after(product)  # [N, experts, width]
        of_task = scores.chunk(len(self.tasks), dim=1)  # [N, experts] each
        return cat([tower(mix(s, outputs)) for tower, s in zip(self.towers, of_task, strict=True)], dim=1)
