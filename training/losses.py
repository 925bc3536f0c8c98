"""The joint loss: tasks weigh in over the rows of their own spaces (PLE, RecSys 2020, section 4.3)."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def joint_loss(logits: Tensor, labels: Tensor, counted: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum over tasks of the mean cross entropy over counted rows; a task without any adds 0.

    logits, labels and counted (0 or 1) are [N, tasks], weights [tasks]; labels of rows not counted must be finite.
    """
    each = binary_cross_entropy_with_logits(logits, labels, reduction="none") * counted
    return (each.sum(0) / counted.sum(0).clamp(min=1) * weights).sum()
