"""PLE, progressive layered extraction (Tang et al., RecSys 2020).

CGC, task k: g_k(x) = w_k(x) S_k(x), w_k(x) = softmax(W_k x) over the rows of S_k, which are the outputs of the task's
own experts and of the shared ones; y_k = t_k(g_k(x)). PLE stacks such levels: at level j the experts of a group, and
its gate, read what the gate of the group gave at level j - 1, the first level the input x. The shared gate mixes ALL
experts of its level; the last level has none, since nothing would read it.

Departures: none known. Experts are single relu layers by default, as in the paper's industrial setting.
"""

import torch
from pydantic import Field as Attribute
from torch import Tensor, cat, nn
from torch.nn.functional import linear

from contract.schema import Schema
from training.models.experts import Experts, Gate
from training.models.features import Features
from training.models.ranker import ModelSettings, Ranker, Width

NEVER = -1e30  # a score that softmax turns into 0


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
        seen, unseen = _sight(tasks, own, shared, last)
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("unseen", unseen, persistent=False)
        self.seen: Tensor
        self.unseen: Tensor

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
        outputs = self._outputs(products)  # [N, all experts, width]
        shares = scores.unflatten(1, (-1, self.seen.shape[1])).softmax(dim=2)  # type: ignore[no-untyped-call]
        return list(torch.bmm(shares, outputs).unbind(1))

    def _outputs(self, products: Tensor) -> Tensor:
        """All that follows the first products [N, all experts * first width]."""
        first, *_ = groups = self.each_expert
        if not first.deeper:
            return first.after(products, sum(group.count for group in groups))
        each = torch.split(products, [group.first.out_features for group in groups], dim=1)
        return cat([group.after(product) for group, product in zip(groups, each, strict=True)], dim=1)

    def _products(self, inputs: Features | list[Tensor]) -> tuple[Tensor, Tensor]:
        """First products of all experts, group by group, and each gate's scores of all experts [N, gates * experts]."""
        experts, gates = [(group.first.weight, group.first.bias) for group in self.each_expert], self._gates()
        if not isinstance(inputs, list):
            weights, biases = zip(*experts, *gates, strict=True)
            widths = [sum(len(bias) for _, bias in layers) for layers in (experts, gates)]
            found, scores = torch.split(inputs.affine(cat(weights), cat(biases)), widths, dim=1)
            return found, scores
        return (
            cat([linear(x, *layer) for layer, x in zip(experts, inputs, strict=True)], dim=1),
            cat([linear(x, *layer) for layer, x in zip(gates, inputs, strict=False)], dim=1),
        )

    def _gates(self) -> list[tuple[Tensor, Tensor]]:
        """Weight [all experts, inputs] and bias of each gate: experts that it does not see have a score of NEVER."""
        layers = [gate.scores for gate in self.each_gate]
        return [
            (layer.weight[seen], layer.bias[seen] + unseen)
            for layer, seen, unseen in zip(layers, self.seen, self.unseen, strict=True)
        ]


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


def _sight(tasks: int, own: int, shared: int, last: bool) -> tuple[Tensor, Tensor]:
    """For each gate and expert the gate's own number of that expert, and what is added to its score: 0, or NEVER."""
    experts = tasks * own + shared
    sights = [[*range(task * own, (task + 1) * own), *range(tasks * own, experts)] for task in range(tasks)]
    sights += [] if last else [list(range(experts))]
    seen, unseen = torch.zeros(len(sights), experts, dtype=torch.int64), torch.full((len(sights), experts), NEVER)
    for gate, visible in enumerate(sights):
        seen[gate, visible], unseen[gate, visible] = torch.arange(len(visible)), 0.0
    return seen, unseen
