"""PLE, progressive layered extraction (Tang et al., RecSys 2020).

CGC, task k: g_k(x) = w_k(x) S_k(x), w_k(x) = softmax(W_k x) over the rows of S_k, which are the outputs of the task's
own experts and of the shared ones; y_k = t_k(g_k(x)). PLE stacks such levels: at level j the experts of a group, and
its gate, read what the gate of the group gave at level j - 1, the first level the input x. The shared gate mixes ALL
experts of its level; the last level has none, since nothing would read it.

Departures: none known. Experts are single relu layers by default, as in the paper's industrial setting.
"""

from pydantic import Field as Attribute
from torch import Tensor, cat, nn

from contract.schema import Schema
from training.models.experts import Experts, Gate, mix
from training.models.features import Features
from training.models.ranker import ModelSettings, Ranker, Width


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

    @property
    def each_expert(self) -> list[Experts]:
        """The groups of experts, tasks first."""
        return [group for group in self.experts if isinstance(group, Experts)]

    @property
    def each_gate(self) -> list[Gate]:
        """The gates, tasks first; the shared one last, if there is one."""
        return [gate for gate in (*self.gates, self.shared_gate) if isinstance(gate, Gate)]

    def forward(self, inputs: Features | list[Tensor]) -> list[Tensor]:
        """Features, or [N, inputs] a group → [N, width] a task, and one of the shared group but for the last level."""
        products, scores = self._products(inputs)
        groups = [experts.after(product) for experts, product in zip(self.each_expert, products, strict=True)]
        *own, shared = groups  # [N, count, width] each
        fused = [mix(score, cat([outputs, shared], dim=1)) for score, outputs in zip(scores, own, strict=False)]
        return fused if self.shared_gate is None else [*fused, mix(scores[-1], cat(groups, dim=1))]

    def _products(self, inputs: Features | list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """First products of each group's experts, and scores of each gate: one product where all read one x."""
        experts, scores = [group.first for group in self.each_expert], [gate.scores for gate in self.each_gate]
        if not isinstance(inputs, list):
            found = inputs.linear([*experts, *scores])
            return found[: len(experts)], found[len(experts) :]
        return (
            [layer(x) for layer, x in zip(experts, inputs, strict=True)],
            [layer(x) for layer, x in zip(scores, inputs, strict=False)],
        )


class PLE(Ranker):
    """Levels of experts, own and shared, gated task by task."""

    def __init__(self, schema: Schema, settings: PLESettings) -> None:
        super().__init__(schema, settings)
        tasks, inputs = len(self.tasks), len(self.field_names) * settings.embedding
        widths = [inputs] + [settings.expert_layers[-1]] * settings.levels
        self.levels = nn.ModuleList(
            Level(tasks, widths[j], settings, last=j == settings.levels - 1) for j in range(settings.levels)
        )
        self.towers = self.task_towers(widths[-1], settings)

    def score(self, features: Features) -> Tensor:
        fused: Features | list[Tensor] = features
        for level in self.levels:
            fused = level(fused)
        assert isinstance(fused, list)  # there is at least one level
        return cat([tower(x) for tower, x in zip(self.towers, fused, strict=True)], dim=1)
