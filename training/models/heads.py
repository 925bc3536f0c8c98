"""Task heads: what a tower's raw outputs mean, their loss, and the value that is served."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from contract.errors import DataError
from contract.schema import Task
from training.models.calibration import Calibration, Method

Regression = Literal["mse", "ziln"]
LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)
WIDEST = 10.0  # largest sigma, and largest log value, of a log-normal: exp must not overflow


class Head(nn.Module):
    """Reads `width` raw outputs a row: loss(raw [N, width], label [N]) → [N]; value(raw) → [N]."""

    width = 1

    def measure(self, labels: Tensor) -> None:
        """Fit what is measured rather than learnt to the known training labels; before training."""

    def loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError

    def value(self, raw: Tensor) -> Tensor:
        raise NotImplementedError


class BinaryHead(Head):
    """A probability. Cross entropy in which positives weigh `positive_weight`, and the logit put right again.

    A weight of w on positives multiplies the odds that a model learns by w, so log w is taken off the logit that is
    served (prior correction: Elkan, IJCAI 2001). What is still wrong is for `calibration`, fitted on validation.
    """

    def __init__(self, positive_weight: float, method: Method) -> None:
        super().__init__()
        self.register_buffer("positive_weight", torch.tensor(positive_weight))
        self.positive_weight: Tensor
        self.calibration = Calibration(method)

    def loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        weight = self.positive_weight
        return binary_cross_entropy_with_logits(raw[:, 0], labels, reduction="none", pos_weight=weight)

    def logit(self, raw: Tensor) -> Tensor:
        """The log odds before calibration, [N]."""
        return raw[:, 0] - self.positive_weight.log()

    def value(self, raw: Tensor) -> Tensor:
        calibrated: Tensor = self.calibration(self.logit(raw))
        return calibrated.sigmoid()


class MeanHead(Head):
    """A mean, by squared error on labels that are standardised with the training labels' mean and deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor(1.0))
        self.mean: Tensor
        self.scale: Tensor

    def measure(self, labels: Tensor) -> None:
        if len(labels):
            spread = labels.double().std(correction=0)
            self.mean.fill_(labels.double().mean())
            self.scale.fill_(spread if spread > 0 else 1.0)

    def loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        return (raw[:, 0] - (labels - self.mean) / self.scale).square()

    def value(self, raw: Tensor) -> Tensor:
        return raw[:, 0] * self.scale + self.mean


class ZilnHead(Head):
    """Revenue: often zero, else heavy-tailed. Zero-inflated log-normal of Wang et al. (arXiv 1912.07753), equation 2.

    raw = (logit of p, mu, s), sigma = softplus(s): loss = CE(y > 0, p) + [y > 0] (log-normal NLL of y); the value is
    the mean, p exp(mu + sigma² / 2). mu and sigma are in units of the log labels that were measured.
    """

    width = 3

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor(1.0))
        self.mean: Tensor
        self.scale: Tensor

    def measure(self, labels: Tensor) -> None:
        if (labels < 0).any():
            raise DataError(
                f"task '{self.task}': the smallest label is {labels.min():g}, and ziln is for amounts of 0 or more; "
                f"take --set model.regression.{self.task}=mse"
            )
        positive = labels[labels > 0].double()
        if len(positive):
            self.mean.fill_(positive.log().mean())
            self.scale.fill_(positive.log().std(correction=0).clamp(min=1e-3))

    def loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        positive = labels > 0
        logged = torch.where(positive, labels, 1.0).log()
        mu, sigma = self._moments(raw)
        likelihood = 0.5 * ((logged - mu) / sigma).square() + sigma.log() + logged + LOG_ROOT_TAU
        zero = binary_cross_entropy_with_logits(raw[:, 0], positive.to(raw.dtype), reduction="none")
        return zero + torch.where(positive, likelihood, 0.0)

    def value(self, raw: Tensor) -> Tensor:
        mu, sigma = self._moments(raw)
        return raw[:, 0].sigmoid() * (mu + 0.5 * sigma.square()).clamp(max=3 * WIDEST).exp()

    def _moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        sigma = (softplus(raw[:, 2]) * self.scale).clamp(1e-3, WIDEST)
        return raw[:, 1] * self.scale + self.mean, sigma


def build_head(task: Task, regression: Regression, positive_weight: float, method: Method) -> Head:
    """The head of a task: binary, or a continuous one of the given kind."""
    if task.kind == "binary":
        return BinaryHead(positive_weight, method)
    return ZilnHead(task.name) if regression == "ziln" else MeanHead()
