"""Label rates of each task and split, how far they are from training's, and what the stored truth would score."""

from collections.abc import Sequence
from math import sqrt

from contract.schema import Task
from training.datasets.prepared import SPLITS
from training.describe.counts import Target
from training.describe.fields import share_of
from training.describe.findings import LabelFound, OracleFound, TaskFound
from training.describe.leaks import FEWEST
from training.describe.survey import LabelSums, Survey, TruthSums


def tasks_found(targets: Sequence[Target], survey: Survey) -> tuple[TaskFound, ...]:
    """Each task in each split, days not filled in."""
    return tuple(
        TaskFound(
            name=target.task.name,
            kind=target.task.kind,
            space=target.task.space,
            threshold=target.threshold,
            splits={
                split: _label(target.task, survey.labels[number][k], survey.labels[0][k])
                for number, split in enumerate(SPLITS)
            },
        )
        for k, target in enumerate(targets)
    )


def held_out(survey: Survey, k: int) -> int:
    """Number of the split on which leaks of a task are measured: validation, or test where that has too few."""
    enough = [min(sums[k].positives, sums[k].rows - sums[k].positives) >= FEWEST for sums in survey.labels]
    return 1 if enough[1] or not enough[2] else 2


def oracle_found(targets: Sequence[Target], survey: Survey) -> tuple[OracleFound, ...]:
    """Of each task and split with known truth."""
    return tuple(
        _oracle(target.task, number, survey.truth[number][k])
        for k, target in enumerate(targets)
        for number in range(len(SPLITS))
        if survey.truth[number][k].rows
    )


def _label(task: Task, own: LabelSums, train: LabelSums) -> LabelFound:
    mean, sd = _moments(own)
    usual, spread = _moments(train)
    found = LabelFound(answers=share_of(own.rows, own.positives), unknown=own.unknown, mean=mean, sd=sd)
    if own is train or mean is None or usual is None or sd is None or spread is None:
        return found
    pooled = (sd**2 * own.rows + spread**2 * train.rows) / (own.rows + train.rows)
    error = sqrt(pooled * (1 / own.rows + 1 / train.rows))
    return found.model_copy(
        update={"lift": mean / usual if usual > 0 else None, "z": (mean - usual) / error if error else None}
    )


def _moments(sums: LabelSums) -> tuple[float | None, float | None]:
    if not sums.rows:
        return None, None
    mean = sums.total / sums.rows
    return mean, sqrt(max(0.0, sums.squares / sums.rows - mean**2))


def _oracle(task: Task, number: int, sums: TruthSums) -> OracleFound:
    calibration = sums.predicted / sums.observed if sums.observed else None
    found = OracleFound(task=task.name, split=SPLITS[number], rows=sums.rows, calibration=calibration)
    if task.kind == "continuous":
        return found.model_copy(update={"rmse": sqrt(sums.loss / sums.rows)})
    return found.model_copy(update={"auc": sums.auc, "log_loss": sums.loss / sums.rows})
