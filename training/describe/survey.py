"""The one pass that reads whole rows: labels, the truth where it is known, who was shown, rows that repeat."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.schema import Side
from training.datasets.prepared import SPLITS
from training.describe.counts import Counts, Target, Weights, counted, positive
from training.describe.duplicates import RowHashes
from training.describe.impressions import Impressions, sides_of
from training.describe.measures import SCORE_BINS, auc_of_counts, score_bins

_LEAST = 1e-12  # probability that a log loss takes for 0


@dataclass
class LabelSums:
    """Of one task and split, over its counted rows."""

    unknown: int = 0
    rows: int = 0
    positives: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, labels: NDArray[np.float32], counted: NDArray[np.bool_], positives: int) -> None:
        """Add rows; labels are NaN where unknown."""
        inside = labels[counted].astype(np.float64)
        self.unknown += int(np.isnan(labels).sum())
        self.rows += len(inside)
        self.positives += positives
        self.total += float(inside.sum())
        self.squares += float(inside @ inside)


@dataclass
class TruthSums:
    """Of a task whose true probability or mean is stored."""

    rows: int = 0
    loss: float = 0.0  # log loss, or squared error
    predicted: float = 0.0
    observed: float = 0.0
    bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, SCORE_BINS), np.int64))  # rows, positives

    def add(self, target: Target, labels: NDArray[np.float32], truth: NDArray[np.float32]) -> None:
        """Add counted rows whose truth is known."""
        y, p = labels.astype(np.float64), truth.astype(np.float64)
        self.rows += len(y)
        self.predicted += float(p.sum())
        self.observed += float(y.sum())
        if target.task.kind == "continuous":
            self.loss += float(((y - p) ** 2).sum())
            return
        chance = np.where(y == 1, p, 1 - p)
        self.loss -= float(np.log(np.maximum(chance, _LEAST)).sum())
        places = score_bins(truth)
        for line, chosen in zip(self.bins, (places, places[y == 1]), strict=True):
            line += np.bincount(chosen, minlength=SCORE_BINS)

    @property
    def auc(self) -> float | None:
        """Of the true probability itself: no model's can be higher, but by chance."""
        return auc_of_counts(np.arange(SCORE_BINS), self.bins[0], self.bins[1])


@dataclass(frozen=True)
class Survey:
    """Sums by split and task, counts of the stored rows, and repeated rows."""

    labels: list[list[LabelSums]]  # [splits][tasks]
    truth: list[list[TruthSums]]
    tables: dict[Side, Counts]
    repeated: tuple[list[int], list[int]]


def survey(impressions: Impressions) -> Survey:
    """Read every impression once."""
    data, targets = impressions.data, impressions.targets
    rows = sum(data.description.rows.values())
    sizes = {Side.USER: data.description.users, Side.ITEM: data.description.items}
    columns = sides_of(data)
    tables = {side: Counts(len(SPLITS), impressions.width, sizes[side], rows) for side in columns}
    labels = [[LabelSums() for _ in targets] for _ in SPLITS]
    truth = [[TruthSums() for _ in targets] for _ in SPLITS]
    with tempfile.TemporaryDirectory(prefix="describe.") as folder:
        hashes = RowHashes(Path(folder), rows)
        for number, split in enumerate(SPLITS):
            for frame, weights in impressions.chunks(split):
                hashes.add(number, frame)
                for side, column in columns.items():
                    tables[side].add(number, frame[column].to_numpy()[:, None], weights)
                _add_targets(impressions, frame, weights, labels[number], truth[number])
        return Survey(labels, truth, tables, hashes.repeated())


def _add_targets(
    impressions: Impressions, frame: pl.DataFrame, weights: Weights, sums: list[LabelSums], truths: list[TruthSums]
) -> None:
    labels, truth = (impressions.data.by_task(frame, prefix) for prefix in ("label", "truth"))
    for k, target in enumerate(impressions.targets):
        own, inside = labels[target.task.name], weights[counted(k)]
        sums[k].add(own, inside, int(weights[positive(k)].sum()))
        if (known := truth.get(target.task.name)) is not None:
            both = inside & ~np.isnan(known)
            truths[k].add(target, own[both], known[both])
