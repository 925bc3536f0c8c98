"""Losses by task: over the rows of the task's own space, or over the entire space."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from contract.schema import Task

# Least distance, in log odds, of a joint probability from its space's. Rounding errors of the two enter the log odds of
# the quotient divided by their distance; this one keeps them within the tolerance of exported graphs.
GAP = 0.02


def space_losses(each: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of losses and number of rows, [tasks] each: a task weighs in over its own space (PLE, section 4.3).

    each and counted (0 or 1) are [N, tasks]; losses of rows not counted must be finite.
    """
    return (each * counted).sum(0), counted.sum(0)


def joint_targets(tasks: Sequence[Task], labels: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and counted rows over the entire space, [N, tasks]: a task in a space becomes `space and task`.

    A row counts where the space's label is known and, if it is 1, the task's own too. Tasks in no space, and continuous
    ones, stay as they are.
    """
    names = [task.name for task in tasks]
    joint, known = [], []
    for k, task in enumerate(tasks):
        if task.space == "all" or task.kind == "continuous":
            joint.append(labels[:, k])
            known.append(counted[:, k])
            continue
        space = names.index(task.space)
        inside = joint[space] if space < k else labels[:, space]
        joint.append(inside * labels[:, k])
        known.append((known[space] if space < k else counted[:, space]) * torch.where(inside > 0, counted[:, k], 1.0))
    return torch.stack(joint, dim=1), torch.stack(known, dim=1)


def log_of_not(log_p: Tensor) -> Tensor:
    """log(1 - p) from log p < 0, stable at both ends (Maechler 2012)."""
    log_p = log_p.clamp(max=-1e-7)
    near = torch.log(-torch.expm1(log_p))
    return torch.where(log_p > -0.6931, near, torch.log1p(-log_p.exp()))


def joint_logit(logits: Sequence[Tensor]) -> Tensor:
    """Log odds of p = product of sigmoid(logits), [N]: ESMM's pCTCVR = pCTR pCVR."""
    log_p = torch.stack([logsigmoid(z) for z in logits]).sum(0)
    return log_p - log_of_not(log_p)


def conditional_logit(joint: Tensor, space: Tensor) -> Tensor:
    """Log odds of sigmoid(joint) / sigmoid(space), [N]: pCVR from pCTCVR and pCTR. `joint` is at most `space` - GAP.

    With j and s: odds = sigmoid(j) / (sigmoid(s) - sigmoid(j)), and sigmoid(s) - sigmoid(j) is sigmoid(s) sigmoid(j)
    (exp(-j) - exp(-s)), so that log odds = j - log sigmoid(s) - log(1 - exp(j - s)).
    """
    joint = torch.minimum(joint, space - GAP)
    return joint - logsigmoid(space) - log_of_not(joint - space)
