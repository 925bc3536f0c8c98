"""Metrics of one task on one split, exact. None where undefined: an AUC of one class is not 0.5.

NaN where the predictions are no numbers. Sorts and cumulative sums; no loop over rows or users.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict, final

import numpy as np
from numpy.typing import NDArray

from contract.schema import Task
from training.ranks import Floats, mean_ranks, order_bits, runs

ECE_BINS = 20

Bools = NDArray[np.bool_]


@final
class BinaryMetrics(TypedDict):
    """`calibration` is predicted over observed: above 1 the model promises too much.

    `gauc` is over users who have both classes, and `gauc_share` tells which share of the rows is theirs; None without
    users. `ece` is over bins of equal mass.
    """

    auc: float | None
    gauc: float | None
    gauc_share: float | None
    log_loss: float | None
    ece: float | None
    calibration: float | None
    rows: int
    positives: int


@final
class ContinuousMetrics(TypedDict):
    """In the unit of the label; `gini` is normalised; `calibration` is the sum predicted over the sum observed."""

    rmse: float | None
    mae: float | None
    spearman: float | None
    gini: float | None
    calibration: float | None
    rows: int


TaskMetrics = BinaryMetrics | ContinuousMetrics  # `"auc" in metrics` tells them apart, to mypy too


class GroupedAuc(NamedTuple):
    """Mean AUC inside a user, and the share of the rows that it covers."""

    value: float | None
    share: float | None


def binary_metrics(logits: Floats, labels: Floats, users: NDArray[np.int32] | None = None) -> BinaryMetrics:
    """Metrics of logits [n] for labels [n] in {0, 1}; users [n] are row numbers, 0 or more."""
    z, y = logits.astype(np.float64), labels.astype(np.float64)
    p, positives = _sigmoid(z), int(y.sum())
    inside = GroupedAuc(None, None) if users is None else gauc(logits, labels, users)
    return {
        "auc": auc(logits, labels),
        "gauc": inside.value,
        "gauc_share": inside.share,
        "log_loss": log_loss(z, y),
        "ece": expected_calibration_error(p, y),
        "calibration": float(p.sum() / positives) if positives else None,
        "rows": len(y),
        "positives": positives,
    }


def continuous_metrics(values: Floats, labels: Floats) -> ContinuousMetrics:
    """Metrics of predicted values [n] for labels [n]."""
    predicted, observed = values.astype(np.float64), labels.astype(np.float64)
    errors, total = predicted - observed, float(observed.sum())
    return {
        "rmse": float(np.sqrt(np.mean(errors**2))) if len(errors) else None,
        "mae": float(np.mean(np.abs(errors))) if len(errors) else None,
        "spearman": spearman(predicted, observed),
        "gini": normalised_gini(predicted, observed),
        "calibration": float(predicted.sum()) / total if total else None,
        "rows": len(observed),
    }


def task_metrics(logits: Floats, labels: Floats, counted: Bools) -> BinaryMetrics:
    """Binary metrics over the counted rows of logits [n] and labels [n]."""
    return binary_metrics(logits[counted], labels[counted])


def composed(
    tasks: Sequence[Task], probabilities: Floats, labels: Floats, known: Bools, users: NDArray[np.int32] | None = None
) -> dict[str, TaskMetrics]:
    """Metrics over all impressions of each task that has a space, named `ctcvr` for cvr of ctr, else `space*task`.

    probabilities (values, where a task is continuous), labels and known are [n, tasks]; `known` says which labels are
    there, inside the task's space or not. A prediction is the product along the chain of spaces, p(ctr) * p(cvr | ctr);
    a label likewise: 0 where any label of the chain is 0, whatever the others say. Rows where neither that nor all
    labels are known do not count. A name that is a task itself is left to that task.
    """
    place = {task.name: k for k, task in enumerate(tasks)}
    found: dict[str, TaskMetrics] = {}
    for task in tasks:
        chain = [task]
        while chain[0].space != "all":
            chain.insert(0, tasks[place[chain[0].space]])
        name = "ctcvr" if (names := [link.name for link in chain]) == ["ctr", "cvr"] else "*".join(names)
        if name in place:
            continue
        columns = [place[link.name] for link in chain]
        none = (known[:, columns] & (labels[:, columns] == 0)).any(axis=1)
        rows = none | known[:, columns].all(axis=1)
        predicted = probabilities[:, columns].astype(np.float64).prod(axis=1)[rows]
        observed = np.nan_to_num(labels[:, columns]).astype(np.float64).prod(axis=1)[rows]
        if task.kind == "continuous":
            found[name] = continuous_metrics(predicted, observed)
        else:
            found[name] = binary_metrics(_logit(predicted), observed, None if users is None else users[rows])
    return found


def auc(scores: Floats, labels: Floats) -> float | None:
    """Area under the ROC curve, ties counted half, exact; None unless both classes are there."""
    positive = labels == 1
    high, low = np.sort(scores[positive]), np.sort(scores[~positive])
    pairs = len(high) * len(low)
    if not pairs:
        return None
    if np.isnan(high[-1]) or np.isnan(low[-1]):  # NaN sorts last
        return float("nan")
    fewer, more = (high, low) if len(high) < len(low) else (low, high)
    sides = [np.searchsorted(more, fewer, side) for side in ("left", "right")]  # sorted needles: cache-friendly
    doubled = int(sides[0].sum()) + int(sides[1].sum())  # twice the pairs where `fewer` wins: integers, so exact
    return (doubled if fewer is high else 2 * pairs - doubled) / (2 * pairs)


def gauc(scores: Floats, labels: Floats, users: NDArray[np.int32]) -> GroupedAuc:
    """Mean of the AUCs inside each user, weighted by the user's impressions, over users who have both classes."""
    if np.isnan(scores).any():
        return GroupedAuc(float("nan"), None)
    # one sort of (user, score, label) packed into 64 bits: 31, 32 and 1
    keys = users.astype(np.uint64) << np.uint64(33) | order_bits(scores) << np.uint64(1) | (labels == 1)
    keys.sort()
    positive = (keys & np.uint64(1)).astype(np.int64)
    tie, user = runs(keys >> np.uint64(1)), runs(keys >> np.uint64(33))
    if not len(keys):
        return GroupedAuc(None, None)
    below = np.concatenate([[0], np.cumsum(1 - positive)])  # negatives before each row
    ends = np.append(tie[1:], len(keys))
    doubled = np.add.reduceat(positive, tie) * (below[tie] + below[ends])  # twice the pairs won, by tied scores
    positives, rows = np.add.reduceat(positive, user), np.diff(np.append(user, len(keys)))
    won = np.add.reduceat(doubled, np.searchsorted(tie, user)) - 2 * positives * below[user]
    pairs = positives * (rows - positives)
    both = pairs > 0
    if not both.any():
        return GroupedAuc(None, 0.0)
    inside = won[both] / (2 * pairs[both])
    return GroupedAuc(float(np.average(inside, weights=rows[both])), float(rows[both].sum() / len(keys)))


def log_loss(logits: Floats, labels: Floats) -> float | None:
    """Mean cross entropy, from logits, so that a sure prediction never gives infinity; None without rows."""
    if not len(labels):
        return None
    if not np.isfinite(logits).all():
        return float("nan")
    z = logits.astype(np.float64)
    return float(np.mean(np.maximum(z, 0) - labels * z + np.log1p(np.exp(-np.abs(z)))))


def expected_calibration_error(probabilities: Floats, labels: Floats, bins: int = ECE_BINS) -> float | None:
    """Mean over rows of |mean predicted - mean observed| of the row's bin; None without rows.

    Bins are cut at quantiles of the predictions, so that they hold equally many rows; ties stay in one bin.
    """
    n = len(labels)
    if not n:
        return None
    cuts = np.unique(np.arange(1, bins) * n // bins)
    bounds = np.unique(np.partition(probabilities, cuts)[cuts])
    gaps = np.bincount(np.searchsorted(bounds, probabilities, side="right"), probabilities - labels)
    return float(np.abs(gaps).sum() / n)


def spearman(values: Floats, labels: Floats) -> float | None:
    """Correlation of mean ranks; None where either side is constant."""
    if not len(labels):
        return None
    ranks = np.stack([mean_ranks(values), mean_ranks(labels)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    spread = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float(ranks[0] @ ranks[1]) / spread if spread else None


def normalised_gini(values: Floats, labels: Floats) -> float | None:
    """Gini of labels in the order of the values, over their Gini in their own, perfect order; None for constant labels.

    Gini(order) is proportional to the sum of label * (mean rank - (n + 1) / 2): tied values share what they gain.
    """
    centre = (len(labels) + 1) / 2
    perfect = float(labels @ (mean_ranks(labels) - centre))
    return float(labels @ (mean_ranks(values) - centre)) / perfect if perfect else None


def soft_auc(scores: Floats, truth: Floats, weights: Floats | None = None) -> float | None:
    """AUC against true probabilities [n], the mean over labels that could have been drawn, of scores [n].

    Sum over i, j of w_i p_i w_j (1 - p_j) [s_i > s_j], ties counted half, over sum(w p) sum(w (1 - p)). For a
    conversion given a click, weigh each impression by its true click probability: the value is then that of all
    clicks that could have been, not of the few that were drawn.
    """
    p = truth.astype(np.float64)
    w = np.ones_like(p) if weights is None else weights.astype(np.float64)
    total = float((w * p).sum()) * float((w * (1 - p)).sum())
    if not total:
        return None
    if np.isnan(scores).any():
        return float("nan")
    order = np.argsort(scores)
    tie = runs(scores[order])
    positive, negative = (np.add.reduceat(mass[order], tie) for mass in (w * p, w * (1 - p)))
    return float(positive @ (np.cumsum(negative) - negative / 2)) / total


def lift_share(auc_model: float, auc_oracle: float) -> float:
    """Which share of the oracle's lift above chance a model reaches."""
    return (auc_model - 0.5) / (auc_oracle - 0.5)


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * z))
    return result


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(p, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
    result: NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
    return result
