"""HTLNet, hybrid targets learning network (Tang et al., RecSys 2024, arXiv 2403.17442).

Binary tasks lead to one core task, continuous as a rule. All towers read the shared embedding e. Tower t also reads
what the tasks before it say: rep_u, the first hidden layer of tower u, and the label embedding

    le_u = w E_u,   w = softmax(([log p_u, log(1 - p_u)] + Gumbel noise) / temperature),   E_u a table of two rows.

Fusion unit (Eq 13, 14), one for representations and one for labels, over all preceding tasks u:
    sum_u a_u h1(u),   a = softmax_u(<h2(u), h3(u)> / sqrt(k)),   h1, h2, h3 linear to k, the first tower width.
Gradient stops at what is handed on (Eq 15), so tasks meet in the embedding alone. There the gradient G_t of each other
task is adjusted to G_core (Algorithm 1):
    G_t -= alpha (G_t . G_core / |G_core|^2) G_core      where they conflict, G_t . G_core < 0      (Eq 16; alpha = 1)
    G_t  = gamma r G_t + (1 - gamma) G_t,                r = |G_core| / |G_t| within [1/C, C]       (Eq 17)
and the sum of all is what the optimiser sees.

Left open by the paper as far as known, chosen here: a fusion unit a receiving task; one source needs no attention, so
no h2, h3; the gradients of all shared parameters form one vector; |G_t| in Eq 17 is that after Eq 16; gamma and C.
Departures: the temperature is fixed, not annealed; in evaluation w is its expectation [p, 1 - p], so that a score is
the same each time; the gradient stops at w, not at w E_u, since E_u could not learn otherwise; p_u is put right where
positives are weighted. A continuous task that is not the core hands on its representation alone.
"""

from collections.abc import Sequence

from pydantic import Field as Attribute
from torch import Tensor, autograd, cat, empty, nn, rand_like, split, stack, zeros_like

from contract.errors import ConfigError
from contract.schema import Schema
from training.distributed import place, summed
from training.models.dropout import ReluDropout
from training.models.features import Features
from training.models.heads import BinaryHead
from training.models.ranker import ModelSettings, Ranker, Width
from training.models.towers import Tower

TINY = 1e-30


class HTLNetSettings(ModelSettings):
    """Settings of HTLNet. `core`: the task that the others lead to, default the schema's last; `ratio` is C."""

    tower: tuple[Width, ...] = Attribute(default=(64,), min_length=1)
    core: str | None = None
    label_width: Width = 16
    temperature: float = Attribute(default=1.0, gt=0)
    alpha: float = Attribute(default=1.0, ge=0, le=1)
    gamma: float = Attribute(default=0.1, ge=0, le=1)
    ratio: float = Attribute(default=10.0, ge=1)


class LabelUnit(nn.Module):
    """Log odds [N] → label embeddings [N, width]: the first row of `labels` stands for yes."""

    def __init__(self, width: int, temperature: float, std: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.labels = nn.Parameter(empty(2, width).normal_(std=std))

    def forward(self, logits: Tensor) -> Tensor:
        if self.training:  # the difference of two Gumbel draws is one logistic draw
            logits = (logits + rand_like(logits).logit(eps=1e-6)) / self.temperature
        yes = logits.sigmoid().unsqueeze(1)
        return yes * self.labels[0] + (1 - yes) * self.labels[1]


class FusionUnit(nn.Module):
    """Attention over sources [N, inputs] → [N, width]."""

    def __init__(self, sources: int, inputs: int, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(inputs, width)  # h1
        self.pair = nn.Linear(inputs, 2 * width) if sources > 1 else None  # h2, h3

    def forward(self, sources: list[Tensor]) -> Tensor:
        if self.pair is None:
            only: Tensor = self.value(sources[0])
            return only
        stacked = stack(sources, dim=1)  # [N, sources, inputs]
        query, key = self.pair(stacked).chunk(2, dim=2)
        shares = ((query * key).sum(2, keepdim=True) / query.shape[2] ** 0.5).softmax(dim=1)
        fused: Tensor = (shares * self.value(stacked)).sum(1)
        return fused


class Receiver(nn.Module):
    """What the tasks before say, as it enters a tower's first layer: that layer's weights on rep and le."""

    def __init__(self, representations: int, labels: int, settings: HTLNetSettings) -> None:
        super().__init__()
        width = settings.tower[0]
        self.representation = FusionUnit(representations, width, width)
        self.label = FusionUnit(labels, settings.label_width, width) if labels else None
        self.first = nn.Linear(width * (1 if self.label is None else 2), width, bias=False)

    def forward(self, representations: list[Tensor], labels: list[Tensor]) -> Tensor:
        fused = [self.representation(representations)] + ([] if self.label is None else [self.label(labels)])
        product: Tensor = self.first(cat(fused, dim=1))
        return product


class HTLNet(Ranker):
    """Towers in a chain that ends at the core task; their gradients in the embedding are adjusted to the core's."""

    def __init__(self, schema: Schema, settings: HTLNetSettings) -> None:
        super().__init__(schema, settings)
        self.settings, self.core = settings, self._core(settings)
        self.chain = [k for k in range(len(self.tasks)) if k != self.core] + [self.core]  # positions of tasks
        binary = [isinstance(self.each_head[k], BinaryHead) for k in self.chain]
        inputs, width = len(self.field_names) * settings.embedding, settings.tower[0]
        self.firsts = nn.ModuleList(nn.Linear(inputs, width) for _ in self.chain)  # the first layers' weights on e
        self.receivers = nn.ModuleList(Receiver(n, sum(binary[:n]), settings) for n in range(1, len(binary)))
        self.label_units = nn.ModuleList(
            LabelUnit(settings.label_width, settings.temperature, settings.embedding_std)
            for _ in range(sum(binary[:-1]))
        )
        self.activation = ReluDropout(settings.dropout)
        self.towers = nn.ModuleList(
            Tower(width, settings.tower[1:], settings.dropout, self.each_head[k].width) for k in self.chain
        )

    def score(self, features: Features) -> Tensor:
        products = features.linear([layer for layer in self.firsts if isinstance(layer, nn.Linear)])
        raw: dict[int, Tensor] = {}
        representations: list[Tensor] = []
        labels: list[Tensor] = []
        for before, (k, product, tower) in enumerate(zip(self.chain, products, self.towers, strict=True)):
            if before:
                product = product + self.receivers[before - 1](representations, labels)
            representation = self.activation(product)
            raw[k] = tower(representation)
            representations.append(representation.detach())
            head = self.each_head[k]
            if isinstance(head, BinaryHead) and len(labels) < len(self.label_units):
                labels.append(self.label_units[len(labels)](head.logit(raw[k]).detach()))
        return cat([raw[k] for k in range(len(self.tasks))], dim=1)

    def backward(self, losses: Tensor) -> None:
        """Ordinary gradients, but for the embeddings': those of the other tasks are adjusted to the core's."""
        shared = [*self.request.parameters(), *self.item.parameters()]
        found = [autograd.grad(losses[k], shared, retain_graph=True, allow_unused=True) for k in self.chain[:-1]]
        losses.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if not found:
            return
        each = stack([_vector(shared, gradients) for gradients in (*found, [p.grad for p in shared])])
        each = summed(each) / place().world  # under torchrun: surgery is not linear, so it needs all rows
        others, core = each[:-1], each[-1] - each[:-1].sum(0)  # the core's is what is left of the sum: a pass less
        adjusted = adjust(core, others, self.settings.alpha, self.settings.gamma, self.settings.ratio)
        for p, gradient in zip(shared, split(adjusted, [p.numel() for p in shared]), strict=True):
            if p.grad is not None:
                p.grad = gradient.view_as(p).to_sparse(1) if p.grad.is_sparse else gradient.view_as(p)

    def _core(self, settings: HTLNetSettings) -> int:
        if settings.core is None:
            return len(self.tasks) - 1
        if settings.core not in self.tasks:
            raise ConfigError(f"model.core: '{settings.core}' is not one of the tasks {', '.join(self.tasks)}")
        return self.tasks.index(settings.core)


def adjust(core: Tensor, others: Tensor, alpha: float, gamma: float, ratio: float) -> Tensor:
    """Equations 16 and 17: gradients of the core [P] and the other tasks [T, P] → their adjusted sum [P]."""
    conflict = (others @ core).clamp(max=0) / core.square().sum().clamp(min=TINY)  # [T], 0 where there is none
    others = others - alpha * conflict.unsqueeze(1) * core
    r = (core.norm() / others.norm(dim=1).clamp(min=TINY)).clamp(1 / ratio, ratio)
    total: Tensor = core + (gamma * r + 1 - gamma) @ others
    return total


def _vector(parameters: list[nn.Parameter], gradients: Sequence[Tensor | None]) -> Tensor:
    """Gradients side by side [P]; zeros where a parameter has none."""
    pairs = zip(parameters, gradients, strict=True)
    return cat([(zeros_like(p) if gradient is None else gradient.to_dense()).flatten() for p, gradient in pairs])
