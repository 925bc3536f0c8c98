"""Numbers made of counts: rates with intervals, AUC, drift."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.ranks import runs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIOR_ROWS = 20  # that a value's rate is drawn towards the mean by
HEADS = 100  # values that drift looks at one by one
Z = 1.959964  # of a two-sided 95 % interval
_SCORE_SHIFT = 13  # of a float32: leaves ten bits of the mantissa, steps of a thousandth
SCORE_BINS = (0x3F800000 >> _SCORE_SHIFT) + 1


@dataclass(frozen=True)
class Rate:
    """A share of rows and its 95 % interval by Wilson's formula."""

    rows: int
    positives: int

    @property
    def value(self) -> float | None:
        """None without rows."""
        return self.positives / self.rows if self.rows else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Low and high."""
        if not self.rows:
            return None
        n, p = self.rows, self.positives / self.rows
        centre = p + Z * Z / (2 * n)
        half = Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return (centre - half) / (1 + Z * Z / n), (centre + half) / (1 + Z * Z / n)


def rates(rows: Ints, positives: Ints) -> Floats:
    """Rate of each value, drawn towards the mean by PRIOR_ROWS rows."""
    mean = positives.sum() / max(1, int(rows.sum()))
    found: Floats = (positives + mean * PRIOR_ROWS) / (rows + PRIOR_ROWS)
    return found


def auc_of_counts(scores: NDArray[Any], rows: Ints, positives: Ints) -> float | None:
    """AUC where `rows[i]` rows, `positives[i]` of them positive, have the score `scores[i]`; ties count half."""
    met = np.flatnonzero(rows)
    order = met[np.argsort(scores[met], kind="stable")]
    if not len(order):
        return None
    ties = runs(scores[order])
    won, lost = (np.add.reduceat(part[order], ties).astype(np.float64) for part in (positives, rows - positives))
    pairs = float(won.sum()) * float(lost.sum())
    return float(won @ (np.cumsum(lost) - lost / 2)) / pairs if pairs else None


def auc_z(auc: float, rows: int, positives: int) -> float:
    """How many standard errors an AUC is from that of scores which know nothing."""
    negatives = rows - positives
    return abs(auc - 0.5) / sqrt((rows + 1) / (12 * positives * negatives))


def score_bins(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Bins of scores in [0, 1], in their order and as fine as a thousandth of each."""
    bits = np.ascontiguousarray(scores.clip(0, 1) + np.float32(0)).view(np.int32)
    return bits >> np.int32(_SCORE_SHIFT)


def psi(expected: Ints, observed: Ints) -> tuple[float, float] | None:
    """Population stability index over bins, and what chance alone would give; None where a side has no rows.

    Half a row is added to each bin, so that a value that only one side has does not give infinity.
    """
    both = expected + observed > 0
    bins, n, m = int(both.sum()), int(expected.sum()), int(observed.sum())
    if not n or not m:
        return None
    e, o = ((side[both] + 0.5) / (total + bins / 2) for side, total in ((expected, n), (observed, m)))
    return float(((o - e) * np.log(o / e)).sum()), (bins - 1) * (1 / n + 1 / m)


def heads(train: Ints) -> Ints:
    """Group of each id: 0 for id 0, 1 to HEADS for the most frequent ones of training, the last for the rest."""
    groups = np.full(len(train), HEADS + 1)
    groups[0] = 0
    for place, i in enumerate(most_frequent(train, HEADS)):
        groups[i] = place + 1
    return groups


def deciles(train: Ints) -> Ints:
    """Group of each bin of a number: tenths of training, as far as the bins can be told apart."""
    before = np.cumsum(train) - train
    groups: Ints = np.minimum(9, 10 * before // max(1, int(train.sum())))
    return groups


def grouped(counts: Ints, groups: Ints) -> Ints:
    """Counts summed by group."""
    found: Ints = np.bincount(groups, counts, int(groups.max()) + 1).astype(np.int64)
    return found


def most_frequent(counts: Ints, most: int) -> list[int]:
    """Ids from 1 on that were met, the most frequent first, ties by id."""
    known = np.flatnonzero(counts[1:]) + 1
    if len(known) > most:
        least = np.partition(counts[known], len(known) - most)[len(known) - most]
        known = known[counts[known] >= least]
    order = np.lexsort((known, -counts[known]))[:most]
    return [int(i) for i in known[order]]
