"""ESMM, entire space multi-task model (Ma et al., SIGIR 2018).

Towers on one shared embedding; pCTCVR = pCTR pCVR; L = CE(click, pCTR) + CE(click & buy, pCTCVR), both over ALL
impressions, so that CVR has no loss of its own and no sample selection bias. Served are pCTR and pCVR.

Departures: any chain of spaces. A binary task in a space learns through the product of its own probability and those of
the spaces above it, over the entire space; all other tasks, continuous ones in a space too, learn as in every model.
A positive weight w of a task in a space weighs the positives of the product: w multiplies the odds that the loss sees,
and log w is put back on the logit of the product, so that each factor stays the probability that it is served as.
"""

from pydantic import Field as Attribute
from torch import Tensor, cat, nn

from contract.schema import Schema
from training.losses import joint_logit, joint_targets, space_losses
from training.models.experts import Experts
from training.models.features import Features
from training.models.heads import BinaryHead
from training.models.ranker import ModelSettings, Ranker, Width
from training.models.spaces import chain, spaces


class ESMMSettings(ModelSettings):
    """Settings of ESMM; each tower has these layers."""

    tower: tuple[Width, ...] = Attribute(default=(256, 128, 64), min_length=1)


class ESMM(Ranker):
    """Towers that share the embedding; their probabilities multiply along the chain of spaces."""

    def __init__(self, schema: Schema, settings: ESMMSettings) -> None:
        super().__init__(schema, settings)
        self.space_of = spaces(schema)
        inputs = len(self.field_names) * settings.embedding
        self.towers = Experts(inputs, len(self.tasks), settings.tower, settings.dropout)
        self.outputs = nn.ModuleList(nn.Linear(settings.tower[-1], head.width) for head in self.each_head)

    def score(self, features: Features) -> Tensor:
        (product,) = features.linear([self.towers.first])
        hidden = self.towers.after(product).unbind(1)  # [N, width] a task
        return cat([output(h) for output, h in zip(self.outputs, hidden, strict=True)], dim=1)

    def losses(self, raw: Tensor, labels: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        joint, known = joint_targets(self.schema_tasks, labels, counted)
        return space_losses(self.each_loss(self._products(raw), joint), known)

    def _products(self, raw: Tensor) -> Tensor:
        """Raw outputs in which a binary task in a space has the logit of the product in place of its own."""
        parts = self.parts(raw)
        logits = {
            k: head.logit(part)
            for k, (head, part) in enumerate(zip(self.each_head, parts, strict=True))
            if isinstance(head, BinaryHead)
        }
        products = list(parts)
        for k, head in enumerate(self.each_head):
            if isinstance(head, BinaryHead) and self.space_of[k] is not None:
                product = joint_logit([logits[j] for j in chain(self.space_of, k)])
                products[k] = (product + head.positive_weight.log()).unsqueeze(1)
        return cat(products, dim=1)
