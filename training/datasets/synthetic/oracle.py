"""What the best possible model would score on a synthetic log: metrics of the true probabilities, in bounded memory.

Probabilities are counted in a million bins of equal relative width (1 in 8,192), so that AUC and calibration error
need no sort; within a bin, ranks are ties.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

COLUMNS = ("click", "conversion", "truth:ctr", "truth:cvr")
SHIFT = 10  # bits of a float32 that are not told apart
BINS = (int(np.float32(1).view(np.int32)) >> SHIFT) + 1
GROUPS = 20  # of equal mass, for the calibration error


class Metrics(NamedTuple):
    """`auc` and `calibration` (expected over observed) are None where a class is missing."""

    rows: int
    positives: int
    auc: float | None
    log_loss: float
    calibration: float | None
    ece: float


class Tally:
    """Labels and probabilities of one task, counted."""

    def __init__(self) -> None:
        self.counts, self.positives = np.zeros(BINS), np.zeros(BINS)
        self.expected, self.loss = np.zeros(BINS), 0.0

    def add(self, probabilities: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
        """More rows."""
        p = probabilities.astype(np.float64)
        bins = probabilities.view(np.int32) >> SHIFT
        self.counts += np.bincount(bins, minlength=BINS)
        self.positives += np.bincount(bins[labels], minlength=BINS)
        self.expected += np.bincount(bins, p, minlength=BINS)
        self.loss -= float(np.log(np.where(labels, p, 1 - p)).sum())

    def metrics(self) -> Metrics:
        """Of all rows so far."""
        rows, positives = int(self.counts.sum()), int(self.positives.sum())
        expected = float(self.expected.sum())
        return Metrics(
            rows,
            positives,
            self._auc(),
            self.loss / max(1, rows),
            expected / positives if positives else None,
            self._calibration_error(rows),
        )

    def _auc(self) -> float | None:
        negatives = self.counts - self.positives
        pairs = self.positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float((self.positives * below).sum() / pairs) if pairs else None

    def _calibration_error(self, rows: int) -> float:
        group = np.minimum((np.cumsum(self.counts) - self.counts / 2) * GROUPS / max(1, rows), GROUPS - 1)
        gaps = np.bincount(group.astype(np.int64), self.expected - self.positives, minlength=GROUPS)
        return float(np.abs(gaps).sum() / max(1, rows))


def oracle(frames: Iterable[pl.DataFrame]) -> dict[str, Metrics]:
    """Metrics of the truth by target: ctr and ctcvr over all rows, cvr over the clicks. Frames hold COLUMNS."""
    tallies = {name: Tally() for name in ("ctr", "cvr", "ctcvr")}
    for frame in frames:
        click, conversion = (frame[name].to_numpy() == 1 for name in COLUMNS[:2])
        ctr, cvr = (frame[name].to_numpy() for name in COLUMNS[2:])
        tallies["ctr"].add(ctr, click)
        tallies["cvr"].add(cvr[click], conversion[click])
        tallies["ctcvr"].add(ctr * cvr, conversion)
    return {name: tally.metrics() for name, tally in tallies.items()}
