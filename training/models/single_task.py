"""Single task: a network a task that shares nothing, the baseline of every multi-task model.

y_k = t_k(f_k(x_k)), where x_k are embeddings of task k's own, f_k relu layers and t_k the tower.

The T embeddings lie side by side in one table of width T d, of which task k reads slice k. No gradient of one task
meets a weight of another, so that training all at once equals training each alone, but for what the engine shares:
batches, step size, clipping by the norm of all gradients, and one early stop for all tasks.
"""

from pydantic import Field as Attribute
from torch import Tensor, cat, nn

from contract.schema import Schema
from training.models.experts import Experts
from training.models.features import Features
from training.models.ranker import ModelSettings, Ranker, Width


class SingleTaskSettings(ModelSettings):
    """Settings of single tasks; `embedding` and `layers` are one task's."""

    layers: tuple[Width, ...] = Attribute(default=(256, 128), min_length=1)


class SingleTask(Ranker):
    """A network a task."""

    def __init__(self, schema: Schema, settings: SingleTaskSettings) -> None:
        tasks, width = len(schema.tasks), settings.embedding
        super().__init__(schema, settings.model_copy(update={"embedding": tasks * width}))
        inputs = len(self.field_names) * width
        self.bottoms = nn.ModuleList(Experts(inputs, 1, settings.layers, settings.dropout) for _ in range(tasks))
        self.towers = self.task_towers(settings.layers[-1], settings)

    @property
    def each_bottom(self) -> list[Experts]:
        """The relu layers below the towers, in task order."""
        return [bottom for bottom in self.bottoms if isinstance(bottom, Experts)]

    def score(self, features: Features) -> Tensor:
        slices, raw = features.split(len(self.tasks)), []
        for own, bottom, tower in zip(slices, self.each_bottom, self.towers, strict=True):
            (product,) = own.linear([bottom.first])
            raw.append(tower(bottom.after(product)[:, 0]))
        return cat(raw, dim=1)
