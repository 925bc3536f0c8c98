"""Labels, oracle and repeated rows against a reader that holds all in memory."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from contract.schema import Task
from tests.training.describe.planted import Planted
from training.describe.counts import Target
from training.describe.findings import Findings
from training.describe.labels import held_out, tasks_found
from training.describe.survey import LabelSums, Survey, TruthSums


def test_label_rates(clean: Planted, found: Findings) -> None:
    for split, rows in clean.rows.items():
        ctr, cvr = (task.splits[split] for task in found.tasks)
        assert ctr.answers.rate == pytest.approx(rows["label:ctr"].mean())
        clicked = rows.filter(pl.col("label:ctr") == 1)
        assert (cvr.answers.rows, cvr.answers.positives) == (len(clicked), clicked["label:cvr"].sum())
        assert ctr.unknown == 0


def test_the_oracle(clean: Planted, found: Findings) -> None:
    (own,) = (each for each in found.oracle if each.split == "test")
    rows = clean.rows["test"]
    assert own.task == "ctr"
    assert own.auc == pytest.approx(roc_auc_score(rows["label:ctr"], rows["truth:ctr"]), abs=1e-9)
    assert own.log_loss == pytest.approx(log_loss(rows["label:ctr"], rows["truth:ctr"].cast(pl.Float64)))
    truth, labels = (rows[column].to_numpy().astype(np.float64) for column in ("truth:ctr", "label:ctr"))
    assert own.calibration == pytest.approx(truth.sum() / labels.sum())


def test_repeated_rows(clean: Planted, found: Findings) -> None:
    own = [":user", ":item", "device", "label:ctr", "label:cvr", "truth:ctr"]
    train = clean.rows["train"].select(own)
    for split, rows in clean.rows.items():
        repeated = len(rows) - rows.select(own).n_unique()
        assert found.duplicates.repeated[split] == repeated
        also = rows.select(own).join(train.unique(), on=own, how="semi")
        assert found.duplicates.trained[split] == (0 if split == "train" else len(also))
    assert found.duplicates.trained["test"] > 0


def test_continuous_labels() -> None:
    task = Task(name="value", label="value", kind="continuous")
    target = Target(task, threshold=2.0)
    labels = np.array([1, 2, 3, 6, np.nan], np.float32)
    sums, truth = LabelSums(), TruthSums()
    counted, positive = target.answers({"value": labels})
    sums.add(labels, counted, int(positive.sum()))
    truth.add(target, labels[counted], np.array([1, 2, 3, 4], np.float32))
    assert (sums.rows, sums.positives, sums.unknown) == (4, 2, 1)
    assert (truth.loss, truth.predicted, truth.observed) == (4, 10, 12)
    later = LabelSums()
    later.add(labels * 2, counted, 3)
    survey = Survey([[sums], [later], [LabelSums()]], [], {}, ([], []))
    found = tasks_found([target], survey)[0].splits
    assert found["train"].mean == 3
    assert found["train"].sd == pytest.approx(np.std([1, 2, 3, 6]))
    assert found["validation"].lift == 2
    assert found["test"].mean is None


@pytest.mark.parametrize(("validation", "test", "held"), [(7, 7, 1), (6, 7, 2), (6, 6, 1), (100, 0, 1)])
def test_leaks_are_measured_where_there_are_positives(validation: int, test: int, held: int) -> None:
    sums = [[LabelSums(rows=1000, positives=many)] for many in (50, validation, test)]
    assert held_out(Survey(sums, [], {}, ([], [])), 0) == held
