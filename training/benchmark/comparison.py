"""Paired differences between models, and the two sources of their noise.

Models meet the same seeds and the same test rows, so what is compared is a difference within each pair of runs.
seeds  the t-interval of the mean of the pairs' differences: another start and order of the same training rows
rows   other test rows: DeLong's variance (1988) of the difference of the seeds' mean AUCs, here as a sum over rows of
       squared influences; rows of one user count as one draw (Obuchowski 1997). An RMSE takes the delta method
both   half widths added as squares (so never narrower than either); a little too wide, since the variance over seeds
       holds part of that over rows
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from training.benchmark.targets import Floats, Target
from training.ranks import mean_ranks

LEVEL = 0.95
Influence = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A mean difference, and half the width of its 95 % intervals; None where one run cannot tell."""

    mean: float
    seeds: float | None
    rows: float
    both: float
    pairs: int

    @property
    def noise(self) -> bool:
        """No difference that both sources of noise would not explain."""
        return abs(self.mean) <= self.both


def difference(values: Sequence[float], baseline: Sequence[float], influence: Influence, target: Target) -> Difference:
    """Of paired values, a pair a seed; `influence` [rows] is that of the difference of their means."""
    pairs = np.asarray(values) - np.asarray(baseline)
    count, rows = len(pairs), float(norm.ppf((1 + LEVEL) / 2)) * standard_error(influence, target.users)
    if count < 2:
        return Difference(float(pairs.mean()), None, rows, rows, count)
    seeds = seed_interval(list(pairs))
    return Difference(float(pairs.mean()), seeds, rows, math.hypot(seeds, rows), count)


def seed_interval(values: Sequence[float]) -> float:
    """Half the width of the t-interval of a mean over seeds; NaN for one."""
    if len(values) < 2:
        return math.nan
    return float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1)) / math.sqrt(len(values))


def influence(target: Target, scores: Floats) -> Influence:
    """How far each counted row moves the target's first metric, AUC or RMSE."""
    outputs = target.counted(scores).astype(np.float64)
    return auc_influence(outputs, target.labels) if target.binary else rmse_influence(outputs, target.labels)


def auc_influence(scores: Floats, labels: Floats) -> Influence:
    """[n]; the squares add up to DeLong's variance. Zeros where an AUC needs more rows of a class."""
    moved = np.zeros(len(labels))
    positive = labels == 1
    sizes = {True: int(positive.sum()), False: int((~positive).sum())}
    if min(sizes.values()) < 2:
        return moved
    ranks = mean_ranks(scores)
    for side, chosen in ((True, positive), (False, ~positive)):
        below = (ranks[chosen] - mean_ranks(scores[chosen])) / sizes[not side]  # share of the other class below
        won = below if side else 1 - below
        moved[chosen] = (won - won.mean()) / math.sqrt(sizes[side] * (sizes[side] - 1))
    return moved


def rmse_influence(values: Floats, labels: Floats) -> Influence:
    """[n]: (e^2 - mean e^2) / (2 n RMSE)."""
    squares = (values.astype(np.float64) - labels) ** 2
    mean = float(squares.mean())
    return (squares - mean) / (2 * len(squares) * math.sqrt(mean)) if mean else np.zeros(len(squares))


def standard_error(moved: Influence, users: NDArray[np.int32] | None = None) -> float:
    """Of a metric, from the influence of each row; rows of one user together."""
    if users is None:
        return math.sqrt(float(moved @ moved))
    _, owner = np.unique(users, return_inverse=True)
    sums = np.bincount(owner, moved)
    return math.sqrt(float(sums @ sums) * len(sums) / max(1, len(sums) - 1))
