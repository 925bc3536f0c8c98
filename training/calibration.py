"""Fit the calibration of each binary task on validation rows; it is part of the model, and of the exported graph.

platt     a z + b by maximum likelihood with Platt's smoothed targets, a > 0: the order of candidates stays
isotonic  a rising function, linear in log odds between the graph's knots, by maximum likelihood on the same targets;
          pooling adjacent violators and keeping 33 of its steps would promise up to twice too much on rare events
A task with fewer than FEWEST positives or negatives there is left as it is: two parameters would fit its noise.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from training.batches import Rows
from training.evaluation import predict, scores
from training.models import Ranker
from training.models.calibration import KNOTS, Calibration
from training.models.heads import BinaryHead

FEWEST = 50
FLATTEST = 0.01  # least slope of platt
STEEPEST = 10.0  # largest slope of isotonic: rounding errors grow by it
NARROWEST = 1e-3  # least distance of knots
EXACT = {"ftol": 1e-13, "gtol": 1e-7, "maxiter": 500}
Floats = NDArray[np.float64]


def calibrate(model: Ranker, validation: Rows) -> list[str]:
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
    design, wanted = np.stack([logits, np.ones_like(logits)], axis=1), _smoothed(targets)  # [n, 2]
    rarer = _rarer(targets)

    def loss(line: Floats) -> tuple[float, Floats]:
        z = design @ line
        return float(np.sum(np.logaddexp(0, z) - wanted * z)) / rarer, design.T @ (expit(z) - wanted) / rarer

    bounds = [(FLATTEST, None), (None, None)]
    found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds, options=EXACT)
    return np.asarray(found.x, np.float64)


def isotonic(logits: Floats, targets: Floats) -> Floats:
    """[2, KNOTS]: strictly rising logits and what they become."""
    before, wanted, rarer = _knots(logits, targets), _smoothed(targets), _rarer(targets)
    widths = np.diff(before)
    place = np.clip(np.searchsorted(before, logits, side="right") - 1, 0, KNOTS - 2)
    share = np.clip((logits - before[place]) / widths[place], 0, 1)

    def loss(rises: Floats) -> tuple[float, Floats]:
        """Of the first value and the rises after it, [KNOTS]."""
        z = np.cumsum(rises)[place] + share * rises[place + 1]
        errors = expit(z) - wanted
        by_knot = np.bincount(place, errors * (1 - share), KNOTS) + np.bincount(place + 1, errors * share, KNOTS)
        return float(np.sum(np.logaddexp(0, z) - wanted * z)) / rarer, by_knot[::-1].cumsum()[::-1] / rarer

    start, bounds = [before[0], *widths], [(None, None), *((0, STEEPEST * width) for width in widths)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=EXACT)
    return np.stack([before, np.cumsum(found.x)])


def _knots(logits: Floats, targets: Floats) -> Floats:
    """Quantiles of logits in which both classes weigh alike: where positives are rare they need most of the knots."""
    order = np.argsort(logits)
    weights = np.where(targets == 1, 0.5 / targets.sum(), 0.5 / (1 - targets).sum())[order]
    found = np.interp(np.linspace(0, 1, KNOTS), weights.cumsum(), logits[order])
    steps = max(float(np.ptp(found)) / (8 * KNOTS), NARROWEST) * np.arange(KNOTS)
    knots: Floats = np.maximum.accumulate(found - steps) + steps
    return knots


def _smoothed(targets: Floats) -> Floats:
    """Platt's targets: as if one more row of the other class had been seen at each."""
    positives, negatives = targets.sum(), (1 - targets).sum()
    return np.where(targets == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _rarer(targets: Floats) -> float:
    """Rows of the rarer class: in this unit a gradient tells a share of predicted over observed."""
    return float(min(targets.sum(), (1 - targets).sum()))
