"""PLE, progressive layered extraction (Tang et al., RecSys 2020).

CGC, task k: g_k(x) = w_k(x) S_k(x), w_k(x) = softmax(W_k x) over the rows of S_k, which are the outputs of the task's
own experts and of the shared ones; y_k = t_k(g_k(x)). PLE stacks such levels: at level j the experts of a group, and
its gate, read what the gate of the group gave at level j - 1, the first level the input x. The shared gate mixes ALL
experts of its level; the last level has none, since nothing would read it.

Departures: none known. Experts are single relu layers by default, as in the paper's industrial setting.
"""

from pydantic import Field as Attribute
from torch import Tensor, cat, nn, stack

from contract.schema import Schema
from training.models.experts import Experts, Gate
from training.models.ranker import ModelSettings, Ranker, Width
from training.models.towers import Tower


class PLESettings(ModelSettings):
    """Settings of PLE; `experts` are a task's own."""

    levels: Width = 2
    experts: Width = 2
    shared_experts: Width = 2
    expert_layers: tuple[Width, ...] = Attribute(default=(128,), min_length=1)


class Level(nn.Module):
    """One extraction level: inputs a group, tasks first and the shared group last → outputs likewise."""

    def __init__(self, tasks: int, inputs: int, settings: PLESettings, last: bool) -> None:
        super().__init__()
        own, shared = settings.experts, settings.shared_experts
        counts = [own] * tasks + [shared]
        self.experts = nn.ModuleList(
            Experts(inputs, count, settings.expert_layers, settings.dropout) for count in counts
        )
        self.gates = nn.ModuleList(Gate(inputs, own + shared) for _ in range(tasks))
        self.shared_gate = None if last else Gate(inputs, sum(counts))

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """[N, inputs] a group → [N, width] a task, and one of the shared group unless this is the last level."""
        groups = [experts(x) for experts, x in zip(self.experts, inputs, strict=True)]  # [N, count, width] each
        *own, shared = groups
        fused = [
            gate(x, cat([outputs, shared], dim=1))
            for gate, x, outputs in zip(self.gates, inputs[:-1], own, strict=True)
        ]
        return fused if self.shared_gate is None else [*fused, self.shared_gate(inputs[-1], cat(groups, dim=1))]


class PLE(Ranker):
    """Two levels of experts, own and shared, gated task by task."""

    def __init__(self, schema: Schema, settings: PLESettings) -> None:
        super().__init__(schema, settings)
        tasks, inputs = len(self.tasks), len(self.field_names) * settings.embedding
        widths = [inputs] + [settings.expert_layers[-1]] * settings.levels
        self.levels = nn.ModuleList(
            Level(tasks, widths[j], settings, last=j == settings.levels - 1) for j in range(settings.levels)
        )
        self.towers = nn.ModuleList(Tower(widths[-1], settings.tower, settings.dropout) for _ in range(tasks))

    def score(self, vectors: Tensor, ids: Tensor) -> Tensor:
        fused = [vectors.flatten(1)] * (len(self.tasks) + 1)
        for level in self.levels:
            fused = level(fused)
        return stack([tower(x) for tower, x in zip(self.towers, fused, strict=True)], dim=1)
