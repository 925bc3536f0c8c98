"""STEM-Net, shared and task-specific embeddings (Su et al., AAAI 2024).

Every field has T + 1 embeddings, one a task and one shared, side by side in one table of width (T + 1) d. Experts of
group k, a task's or the shared ones, read x_k. Task t mixes ALL experts, sum_i w_i E_i with w = softmax(gate_t(x_t +
x_s)), but outputs of other tasks' experts are detached: all forward, task-specific backward. y_t = tower_t(mixture).
With more `levels` a shared gate, softmax(gate_s(x_s)), mixes all experts with nothing detached, and the groups of the
next level read what their gates gave. The last level has none, since nothing would read it.

Departures: one level, single-layer experts and a gate of one hidden layer by default; sizes come from the recipe. Gates
have no dropout.
"""

from collections.abc import Sequence

from pydantic import Field as Attribute
from torch import Tensor, cat, nn

from contract.schema import Schema
from training.models.experts import Experts, mix
from training.models.features import Features
from training.models.ranker import ModelSettings, Ranker, Width


class STEMSettings(ModelSettings):
    """Settings of STEM; `embedding` is one group's, `experts` are a task's own."""

    levels: Width = 1
    experts: Width = 2
    shared_experts: Width = 2
    expert_layers: tuple[Width, ...] = Attribute(default=(128,), min_length=1)
    gate_layers: tuple[Width, ...] = Attribute(default=(64,), min_length=1)


class Selector(nn.Module):
    """Scores of `choices` experts, by relu layers and a linear one."""

    def __init__(self, inputs: int, choices: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.hidden = Experts(inputs, 1, layers, dropout=0.0)
        self.scores = nn.Linear(layers[-1], choices)

    @property
    def first(self) -> nn.Linear:
        """The first layer; its product may be a sum over two inputs."""
        return self.hidden.first

    def after(self, product: Tensor) -> Tensor:
        """All that follows the first product: [N, choices]."""
        scores: Tensor = self.scores(self.hidden.after(product)[:, 0])
        return scores


class Level(nn.Module):
    """One level: inputs a group, tasks first and the shared group last → outputs likewise."""

    def __init__(self, tasks: int, inputs: int, settings: STEMSettings, last: bool) -> None:
        super().__init__()
        counts = [settings.experts] * tasks + [settings.shared_experts]
        self.experts = nn.ModuleList(
            Experts(inputs, count, settings.expert_layers, settings.dropout) for count in counts
        )
        self.selectors = nn.ModuleList(
            Selector(inputs, sum(counts), settings.gate_layers) for _ in range(tasks if last else tasks + 1)
        )

    @property
    def each_expert(self) -> list[Experts]:
        """The groups of experts, tasks first."""
        return [group for group in self.experts if isinstance(group, Experts)]

    @property
    def each_selector(self) -> list[Selector]:
        """The gates, tasks first; the shared one last, if there is one."""
        return [selector for selector in self.selectors if isinstance(selector, Selector)]

    def forward(self, inputs: Sequence[Features | Tensor]) -> list[Tensor]:
        """Features or [N, inputs] a group → [N, width] a task, and one of the shared group but for the last level."""
        products, scores = self._products(inputs)
        groups = [experts.after(product) for experts, product in zip(self.each_expert, products, strict=True)]
        return [mix(score, cat(_seen(groups, k), dim=1)) for k, score in enumerate(scores)]

    def _products(self, inputs: Sequence[Features | Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """First products of each group's experts, and scores of each gate."""
        *experts, shared_experts = self.each_expert
        selectors = self.each_selector
        firsts = [selector.first for selector in selectors]
        shared, *of_shared = _linear(inputs[-1], [shared_experts.first, *firsts])
        products = []
        for k, group in enumerate(experts):
            product, of_task = _linear(inputs[k], [group.first, firsts[k]])
            products.append(product)
            of_shared[k] = of_shared[k] + of_task - firsts[k].bias  # W (x_t + x_s) + b, from two products with b each
        return [*products, shared], [s.after(product) for s, product in zip(selectors, of_shared, strict=True)]


class STEM(Ranker):
    """Embeddings a task and shared ones; all experts forward, own and shared ones backward."""

    def __init__(self, schema: Schema, settings: STEMSettings) -> None:
        tasks, width = len(schema.tasks), settings.embedding
        super().__init__(schema, settings.model_copy(update={"embedding": (tasks + 1) * width}))
        widths = [len(self.field_names) * width] + [settings.expert_layers[-1]] * settings.levels
        self.levels = nn.ModuleList(
            Level(tasks, widths[j], settings, last=j == settings.levels - 1) for j in range(settings.levels)
        )
        self.towers = self.task_towers(widths[-1], settings)

    def score(self, features: Features) -> Tensor:
        fused: Sequence[Features | Tensor] = features.split(len(self.tasks) + 1)
        for level in self.levels:
            fused = level(fused)
        return cat([tower(x) for tower, x in zip(self.towers, fused, strict=True)], dim=1)


def _seen(groups: Sequence[Tensor], reader: int) -> list[Tensor]:
    """Outputs of all groups as the gate of one group sees them: detached, but for its own and the shared group's."""
    shared = len(groups) - 1
    return [group if reader in (k, shared) or k == shared else group.detach() for k, group in enumerate(groups)]


def _linear(inputs: Features | Tensor, layers: Sequence[nn.Linear]) -> list[Tensor]:
    return [layer(inputs) for layer in layers] if isinstance(inputs, Tensor) else inputs.linear(layers)
