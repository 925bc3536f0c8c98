"""Weights of the tasks' losses: fixed, decaying, or learned from each task's own uncertainty.

fixed     w_k, 1 where not named
decay     w_k gamma_k^epoch, epoch counted from 0 in fractions (PLE, RecSys 2020, section 4.3)
learned   Kendall, Gal and Cipolla (CVPR 2018), s_k = log sigma_k^2 starting at 0: exp(-s_k) L_k / 2 + s_k / 2 for a
          squared error, exp(-s_k) L_k + s_k / 2 for a cross entropy; times w_k gamma_k^epoch as above
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from contract.errors import ConfigError
from training.models.heads import Head, MeanHead, ZilnHead


class TaskWeighting(nn.Module):
    """Losses [tasks] → weighted losses [tasks], whose sum is minimised. Has parameters only where it learns them.

    `heads` are all tasks in order; ConfigError for a task that is not there, or a loss whose uncertainty has no bound.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        weights: Mapping[str, float],
        decay: Mapping[str, float],
        uncertainty: bool = False,
    ) -> None:
        super().__init__()
        for key, named in (("task_weights", weights), ("task_weight_decay", decay)):
            if unknown := [name for name in named if name not in heads]:
                raise ConfigError(f"{key}: '{unknown[0]}' is not one of the tasks {', '.join(heads)}")
        self.register_buffer("weights", torch.tensor([weights.get(task, 1.0) for task in heads]))
        self.register_buffer("decay", torch.tensor([decay.get(task, 1.0) for task in heads]))
        self.register_buffer("halves", torch.tensor([0.5 if isinstance(h, MeanHead) else 1.0 for h in heads.values()]))
        self.weights: Tensor
        self.decay: Tensor
        self.halves: Tensor
        if uncertainty and (revenue := [task for task, head in heads.items() if isinstance(head, ZilnHead)]):
            raise ConfigError(
                f"uncertainty_weighting: the ziln loss of task '{revenue[0]}' falls below zero, where no weight is "
                f"large enough; set task_weights, or --set model.regression.{revenue[0]}=mse"
            )
        self.log_variances = nn.Parameter(torch.zeros(len(heads))) if uncertainty else None

    def forward(self, losses: Tensor, epoch: float) -> Tensor:
        """Weighted losses, [tasks]; `epoch` has a fraction within the epoch."""
        if self.log_variances is not None:
            losses = self.halves * (-self.log_variances).exp() * losses + 0.5 * self.log_variances
        return self.weights * self.decay**epoch * losses
