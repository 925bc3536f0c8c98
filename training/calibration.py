"""Fit the calibration of each binary task on validation rows; it is part of the model, and of the exported graph.

platt     a z + b by maximum likelihood with Platt's smoothed targets, a > 0: the order of candidates stays
isotonic  a rising function, linear in log odds between the graph's knots, by maximum likelihood on the same targets;
          pooling adjacent violators and keeping 33 of its steps would promise up to twice too much on rare events
A task with fewer than FEWEST positives or negatives there is left as it is: two parameters would fit its noise.
"""

from typing import NamedTuple

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
CELLS = 4096  # of isotonic: its rows are first put together by their logit
EXACT = {"ftol": 1e-13, "gtol": 1e-7, "maxiter": 5000, "maxfun": 10000}
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
    cells, rarer = _cells(logits, targets), _rarer(targets)
    before = _knots(cells.logits, cells.levels)
    widths = np.diff(before)
    place = np.clip(np.searchsorted(before, cells.logits, side="right") - 1, 0, KNOTS - 2)
    share = np.clip((cells.logits - before[place]) / widths[place], 0, 1)

    def loss(rises: Floats) -> tuple[float, Floats]:
        """Of the first value and the rises after it, [KNOTS]."""
        z = np.cumsum(rises)[place] + share * rises[place + 1]
        errors = cells.rows * expit(z) - cells.positives
        by_knot = np.bincount(place, errors * (1 - share), KNOTS) + np.bincount(place + 1, errors * share, KNOTS)
        total = float(np.sum(cells.rows * np.logaddexp(0, z) - cells.positives * z))
        return total / rarer, by_knot[::-1].cumsum()[::-1] / rarer

    start, bounds = [before[0], *widths], [(None, None), *((0, STEEPEST * width) for width in widths)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=EXACT)
    return np.stack([before, np.cumsum(found.x)])


class _Cells(NamedTuple):
    """Rows of nearly the same logit together, in its order; `levels` in (0, 1]: both classes weigh alike.

    Where positives are rare they need most of the cells, and of the knots.
    """

    logits: Floats  # means
    rows: Floats
    positives: Floats  # smoothed
    levels: Floats


def _cells(logits: Floats, targets: Floats) -> _Cells:
    order = np.argsort(logits)
    weights = np.where(targets == 1, 0.5 / targets.sum(), 0.5 / (1 - targets).sum())[order]
    levels = weights.cumsum()
    _, starts = np.unique((levels * CELLS).astype(np.int64), return_index=True)
    rows = np.diff(starts, append=len(logits)).astype(np.float64)
    means = np.add.reduceat(logits[order], starts) / rows
    return _Cells(means, rows, np.add.reduceat(_smoothed(targets)[order], starts), levels[starts])


def _knots(logits: Floats, levels: Floats) -> Floats:
    """Quantiles, some distance apart."""
    found = np.interp(np.linspace(0, 1, KNOTS), levels, logits)
    steps = max(float(np.ptp(found)) / (8 * KNOTS), NARROWEST) * np.arange(KNOTS)
    knots: Floats = np.maximum.accumulate(found - steps) + steps
    return knots


def _smoothed(targets: Floats) -> Floats:
    """Platt's targets: as if one more row of the other class had been seen at each."""
    positives, negatives = targets.sum(), (1 - targets).sum()
    smoothed: Floats = np.where(targets == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    return smoothed


def _rarer(targets: Floats) -> float:
    """Rows of the rarer class: in this unit a gradient tells a share of predicted over observed."""
    return float(min(targets.sum(), (1 - targets).sum()))
