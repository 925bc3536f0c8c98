"""Shared bottom (Caruana, Machine Learning 1997): relu layers that all tasks share, then a tower a task.

y_k = t_k(f(x)). Departures: none known.
"""

from pydantic import Field as Attribute
from torch import Tensor, cat

from contract.schema import Schema
from training.models.experts import Experts
from training.models.features import Features
from training.models.ranker import ModelSettings, Ranker, Width


class SharedBottomSettings(ModelSettings):
    """Settings of the shared bottom; `layers` are the shared ones."""

    layers: tuple[Width, ...] = Attribute(default=(512, 256), min_length=1)


class SharedBottom(Ranker):
    """One bottom, a tower a task."""

    def __init__(self, schema: Schema, settings: SharedBottomSettings) -> None:
        super().__init__(schema, settings)
        inputs = len(self.field_names) * settings.embedding
        self.bottom = Experts(inputs, 1, settings.layers, settings.dropout)
        self.towers = self.task_towers(settings.layers[-1], settings)

    def score(self, features: Features) -> Tensor:
        (product,) = features.linear([self.bottom.first])
        shared = self.bottom.after(product)[:, 0]  # [N, width]
        return cat([tower(shared) for tower in self.towers], dim=1)
