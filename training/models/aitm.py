"""AITM, adaptive information transfer (Xi et al., KDD 2021).

Towers q_k = f_k(x) on one shared embedding. z_1 = q_1; then z_k = AIT(q_k, p), where p = relu(W z) is information from
the task before. AIT attends over the two:

    z_k = sum over u in {q_k, p} of a_u W3 u,   a = softmax over u of <W1 u, W2 u> / sqrt(width);   y_k = sigmoid(w z_k)

L = sum_k CE(y_k) + `calibrator` * mean of max(y_k - y_(k-1), 0): who buys has clicked, so a later step cannot be the
likelier one. In a chain y_k is the probability of this step AND all before it, over all impressions.

Departures: the task before is a task's space; for a task in none it is the one before it in the schema, without the
calibrator, since nothing says that its label implies the other. Served is the conditional probability, as by every
model: y_k / y_space for a task in a space, computed from the logits; where the calibrator failed, y_k counts as at most
0.02 of log odds below y_space, which makes 0.98 of a rare click. So CTR times CVR, before calibration, is the paper's
y_k. A continuous task receives information too, and learns in its own space. `dropout` is one rate for all layers.
"""

import math

from pydantic import Field as Attribute
from torch import Tensor, cat, nn, stack, zeros_like

from contract.schema import Schema
from training.losses import conditional_logit, joint_targets, space_losses
from training.models.dropout import ReluDropout
from training.models.experts import Experts, mix
from training.models.features import Features
from training.models.heads import BinaryHead
from training.models.ranker import ModelSettings, Ranker, Width
from training.models.spaces import spaces


class AITMSettings(ModelSettings):
    """Settings of AITM; each tower has these layers, the last of which is the width of what is passed on."""

    tower: tuple[Width, ...] = Attribute(default=(128, 64, 32), min_length=1)
    calibrator: float = Attribute(default=0.6, ge=0)


class Transfer(nn.Module):
    """AIT: a task's own q [N, width] and z of the task before → z [N, width]."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.information = nn.Linear(width, width)
        self.activation = ReluDropout(dropout)
        self.projections = nn.Linear(width, 3 * width, bias=False)  # W1, W2, W3
        self.scale = 1 / math.sqrt(width)

    def forward(self, own: Tensor, before: Tensor) -> Tensor:
        pair = stack([own, self.activation(self.information(before))], dim=1)  # [N, 2, width]
        query, key, value = self.projections(pair).chunk(3, dim=2)
        return mix((query * key).sum(2) * self.scale, value)


class AITM(Ranker):
    """Towers that pass information down the chain; raw outputs are logits of joint probabilities."""

    def __init__(self, schema: Schema, settings: AITMSettings) -> None:
        super().__init__(schema, settings)
        self.space_of, self.calibrator = spaces(schema), settings.calibrator
        tasks, width = len(self.tasks), settings.tower[-1]
        self.towers = Experts(len(self.field_names) * settings.embedding, tasks, settings.tower, settings.dropout)
        self.transfers = nn.ModuleList(Transfer(width, settings.dropout) for _ in range(tasks - 1))
        self.outputs = nn.ModuleList(nn.Linear(width, head.width) for head in self.each_head)

    def score(self, features: Features) -> Tensor:
        (product,) = features.linear([self.towers.first])
        first, *later = self.towers.after(product).unbind(1)  # q, [N, width] a task
        passed = [first]
        for k, (own, transfer) in enumerate(zip(later, self.transfers, strict=True), start=1):
            space = self.space_of[k]
            passed.append(transfer(own, passed[k - 1 if space is None else space]))
        return cat([output(z) for output, z in zip(self.outputs, passed, strict=True)], dim=1)

    def parts(self, raw: Tensor) -> tuple[Tensor, ...]:
        """What the heads read: of a binary task in a space the logit of the conditional probability."""
        joint = super().parts(raw)
        logits = self._logits(joint)
        found = list(joint)
        for k, (head, space) in enumerate(zip(self.each_head, self.space_of, strict=True)):
            if isinstance(head, BinaryHead) and space is not None:
                logit = conditional_logit(logits[k], logits[space])
                found[k] = (logit + head.positive_weight.log()).unsqueeze(1)  # which the head takes off again
        return tuple(found)

    def losses(self, raw: Tensor, labels: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        parts = super().parts(raw)
        joint, known = joint_targets(self.schema_tasks, labels, counted)
        of_task = zip(self.each_head, parts, joint.unbind(1), strict=True)
        each = stack([head.loss(part, label) for head, part, label in of_task], dim=1)
        return space_losses(each + self.calibrator * self._excess(parts), known)

    def _excess(self, parts: tuple[Tensor, ...]) -> Tensor:
        """max(y_k - y_space, 0), [N, tasks]; 0 for a task in no space."""
        y = {k: logit.sigmoid() for k, logit in self._logits(parts).items()}
        none = zeros_like(parts[0][:, 0])
        return stack(
            [
                none if space is None or k not in y else (y[k] - y[space]).relu()
                for k, space in enumerate(self.space_of)
            ],
            dim=1,
        )

    def _logits(self, parts: tuple[Tensor, ...]) -> dict[int, Tensor]:
        """Joint log odds of the binary tasks, positive weights put right, by position."""
        each = enumerate(zip(self.each_head, parts, strict=True))
        return {k: head.logit(part) for k, (head, part) in each if isinstance(head, BinaryHead)}
