"""How well one field alone tells a label: fitted on training, measured on rows that it was not fitted on.

A value's score is its rate in training, drawn towards the mean, so that a value of one row tells nothing. A number is
also tried as it is, either way up; a multi-valued field by the mean of its values' rates, and by its best single value.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.schema import Kind
from training.datasets.prepared import SPLITS
from training.describe.counts import Counts, Ids, Target, counted, positive
from training.describe.findings import Leak
from training.describe.measures import SCORE_BINS, Ints, auc_of_counts, auc_z, rates, score_bins

ALARM = 0.95
SURE = 4.0  # standard errors from 0.5: about seven positives at least
FEWEST = 7  # of each answer, for a field to equal a label

Answers = tuple[Ints, Ints]  # rows and positive rows


class ByMean(NamedTuple):
    """Held-out rows by bin of their values' mean rate, and how many rows, and positive ones, training has."""

    held: Answers
    trained: tuple[int, int]


def leak(kind: Kind, counts: Counts, k: int, target: Target, split: int, means: ByMean | None) -> Leak:
    """Of one field and task, measured on a split; only a multi-valued field has `means`."""
    fitted, held = answers(counts, 0, k), answers(counts, split, k)
    of_rows = held if means is None else means.held
    rows, positives = (int(part.sum()) for part in of_rows)
    auc, way = max(_tried(kind, fitted, held, means), key=lambda each: -1 if each[0] is None else each[0])
    sure = auc is not None and auc_z(auc, rows, positives) > SURE
    same = equals(counts, k)
    return Leak(
        task=target.task.name,
        split=SPLITS[split],
        rows=rows,
        positives=positives,
        auc=auc,
        way=way,
        sure=sure,
        equals=same,
        alarm=same or (sure and auc is not None and auc > ALARM),
    )


def answers(counts: Counts, split: int, k: int) -> Answers:
    """Rows and positive rows of a task, [ids] each."""
    return counts.of(split, counted(k)), counts.of(split, positive(k))


def equals(counts: Counts, k: int) -> bool:
    """Whether all positive rows of all splits have one value and all others another."""
    every = [answers(counts, split, k) for split in range(len(SPLITS))]
    positives = np.sum([won for _, won in every], axis=0)
    negatives = np.sum([rows - won for rows, won in every], axis=0)
    sides = [np.flatnonzero(part) for part in (positives, negatives)]
    enough = min(positives.sum(), negatives.sum()) >= FEWEST
    return bool(enough and all(len(side) == 1 for side in sides) and sides[0][0] != sides[1][0])


def mean_rates(counts: Counts, k: int) -> NDArray[np.float32]:
    """Rate of each id in training."""
    return rates(counts.of(0, counted(k)), counts.of(0, positive(k))).astype(np.float32)


def mean_rate_bins(ids: Ids, by_id: NDArray[np.float32]) -> NDArray[np.int32]:
    """Bin of the mean rate of each row's values, [n, 1]; of id 0's rate for a row without any."""
    known = ids > 0
    total = (by_id[ids] * known).sum(axis=1, dtype=np.float32)
    many = known.sum(axis=1)
    return score_bins(np.where(many > 0, total / np.maximum(1, many), by_id[0]).astype(np.float32))[:, None]


def _tried(kind: Kind, fitted: Answers, held: Answers, means: ByMean | None) -> list[tuple[float | None, str]]:
    """AUCs of the ways in which a field's values can be scores."""
    if means is not None:
        mean = auc_of_counts(np.arange(SCORE_BINS), *means.held)
        return [(mean, "mean of the values' rates"), (_best_value(fitted, held, means), "its best single value")]
    tried: list[tuple[float | None, str]] = [(auc_of_counts(rates(*fitted), *held), "rate of each value in training")]
    if kind is Kind.NUMERIC and (auc := auc_of_counts(np.arange(len(held[0])), *held)) is not None:
        tried += [(auc, "its value"), (1 - auc, "its value, the lower the likelier")]
    return tried


def _best_value(fitted: Answers, held: Answers, means: ByMean) -> float | None:
    """AUC of "has this value", for the value that tells most in training."""
    rows, positives = (int(part.sum()) for part in means.held)
    if not 0 < positives < rows:
        return None
    won, lost = _shares(fitted, *means.trained)
    value = int(np.abs(won - lost).argmax())
    won, lost = _shares(held, rows, positives)
    return float(0.5 + abs(won[value] - lost[value]) / 2)


def _shares(answers: Answers, rows: int, positives: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of so many positive rows, and of the negative ones, that have each value."""
    met, won = answers
    return won / max(1, positives), (met - won) / max(1, rows - positives)
