"""Task towers: the last layers of every model, one tower a task."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Tower(nn.Module):
    """Relu layers and a linear head: [N, inputs] → logits [N]."""

    def __init__(self, inputs: int, layers: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))
                for before, after in pairwise([inputs, *layers])
            )
        )
        self.head = nn.Linear([inputs, *layers][-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.hidden(x)).squeeze(1)
        return logits
