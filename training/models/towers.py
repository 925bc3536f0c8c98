"""Task towers: the last layers of every model, one tower a task."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from training.models.dropout import ReluDropout
from training.models.initialisation import xavier


class Tower(nn.Module):
    """Relu layers and a linear head: [N, inputs] → raw outputs [N, outputs]."""

    def __init__(self, inputs: int, layers: Sequence[int], dropout: float, outputs: int = 1) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(xavier(nn.Linear(before, after), after), ReluDropout(dropout))
                for before, after in pairwise([inputs, *layers])
            )
        )
        self.head = xavier(nn.Linear([inputs, *layers][-1], outputs), outputs)

    def forward(self, x: Tensor) -> Tensor:
        raw: Tensor = self.head(self.hidden(x))
        return raw
