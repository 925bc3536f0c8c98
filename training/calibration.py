"""Fit the calibration of each binary task on validation rows; it is part of the model, and of the exported graph.

platt     a z + b by maximum likelihood with Platt's smoothed targets, a > 0: the order of candidates stays
isotonic  pool adjacent violators on probabilities, thinned to the graph's knots
A task with fewer than FEWEST positives or negatives there is left as it is: two parameters would fit its noise.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from training.batches import Batch
from training.evaluation import predict, scores
from training.models import Ranker
from training.models.calibration import KNOTS, Calibration
from training.models.heads import BinaryHead

FEWEST = 50
FLATTEST = 0.01  # least slope
NARROWEST = 1e-6  # no knot twice
Floats = NDArray[np.float64]


def calibrate(model: Ranker, validation: Batch) -> list[str]:
    """Fit in place; returns the binary tasks left as they are for want of positives or negatives."""
    raw = predict(model, validation)
    labels, counted = validation.labels.cpu().numpy(), validation.counted.cpu().numpy() > 0
    left = []
    for k, (task, head) in enumerate(zip(model.tasks, model.each_head, strict=True)):
        if not isinstance(head, BinaryHead) or head.calibration.method == "none":
            continue
        logits = scores(model, k, raw, calibrated=False)[counted[:, k]].astype(np.float64)
        targets = labels[counted[:, k], k].astype(np.float64)
        if min(targets.sum(), (1 - targets).sum()) < FEWEST:
            left.append(task)
        else:
            _fit(head.calibration, logits, targets)
    return left


def _fit(calibration: Calibration, logits: Floats, targets: Floats) -> None:
    if calibration.method == "platt":
        calibration.line.copy_(torch.from_numpy(platt(logits, targets)))
    else:
        calibration.knots.copy_(torch.from_numpy(isotonic(logits, targets)))


def platt(logits: Floats, targets: Floats) -> Floats:
    """[slope, intercept] of maximum likelihood on Platt's smoothed targets; the slope is at least FLATTEST."""
    positives, negatives = targets.sum(), (1 - targets).sum()
    wanted = np.where(targets == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([logits, np.ones_like(logits)], axis=1)  # [n, 2]

    def loss(line: Floats) -> tuple[float, Floats]:
        z = design @ line
        return float(np.mean(np.logaddexp(0, z) - wanted * z)), design.T @ (expit(z) - wanted) / len(z)

    found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(FLATTEST, None), (None, None)])
    return np.asarray(found.x, np.float64)


def isotonic(logits: Floats, targets: Floats) -> Floats:
    """[2, KNOTS]: strictly increasing logits and what they become."""
    distinct, group, counts = np.unique(logits, return_inverse=True, return_counts=True)
    means = np.bincount(group, targets) / counts
    fitted = isotonic_regression(means, weights=counts).x
    before = np.quantile(distinct, np.linspace(0, 1, KNOTS))
    bound = 0.5 / len(targets)  # a block without positives does not mean probability 0
    after = np.interp(before, distinct, fitted).clip(bound, 1 - bound)
    return np.stack([before + NARROWEST * np.arange(KNOTS), logit(after)])
