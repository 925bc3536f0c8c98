"""Metrics of a model on a split, what a run reports, and the score that chooses between weights."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from contract.schema import Task
from tests.training import tiny
from training.batches import Batch
from training.evaluation import assess, evaluate, predict, scores, selection_score, told
from training.metrics import BinaryMetrics, ContinuousMetrics, TaskMetrics, binary_metrics, continuous_metrics
from training.models import MODELS, Ranker, build_model
from training.models.heads import BinaryHead

WATCH = Task(name="watch", kind="continuous", label="w")
PAID = Task(name="paid", kind="continuous", label="p", space="cvr")
TASKS = (tiny.CLICK, tiny.BUY, PAID, WATCH)


def hybrid() -> Ranker:
    torch.manual_seed(0)
    settings = MODELS["ple"].settings(regression={"paid": "ziln"}, positive_weight={"ctr": 5}, embedding=4, tower=(8,))
    model = build_model("ple", tiny.schema(tasks=TASKS), settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("head.weight"):
                parameter.mul_(30)
    return model


def rows(count: int = 300) -> Batch:
    """Clicks, purchases of some, amounts of those, and seconds watched of all; of ten users."""
    inputs = tiny.inputs(tiny.schema(tasks=TASKS), items=count, requests=count)[:4]
    draw = np.random.default_rng(0)
    click, buy = draw.random(count) < 0.4, draw.random(count) < 0.5
    labels = np.stack([click, buy & click, buy * draw.lognormal(3, 1, count), draw.normal(100, 30, count)], axis=1)
    counted = np.stack([np.ones(count), click, click & buy, draw.random(count) < 0.9], axis=1)
    users = torch.from_numpy(draw.integers(0, 10, count).astype(np.int32))
    return Batch(*inputs, torch.from_numpy(labels).float(), torch.from_numpy(counted).float(), users)


def test_each_task_has_the_metrics_of_its_kind_over_its_own_rows() -> None:
    model, split = hybrid(), rows()
    raw, labels, counted = predict(model, split), split.labels.numpy(), split.counted.numpy() > 0
    found = evaluate(model, split)
    assert list(found) == ["ctr", "cvr", "paid", "watch"]
    assert split.users is not None
    bought, users = counted[:, 1], split.users.numpy()
    assert found["cvr"] == binary_metrics(scores(model, 1, raw)[bought], labels[bought, 1], users[bought])
    assert "gauc" in found["cvr"]
    assert found["cvr"]["gauc"] is not None
    for k, task in ((2, "paid"), (3, "watch")):
        seen = counted[:, k]
        assert found[task] == continuous_metrics(scores(model, k, raw)[seen], labels[seen, k])
        assert found[task]["rows"] == seen.sum() < len(split)


def test_scores_are_log_odds_and_values_as_served() -> None:
    model = hybrid()
    raw = predict(model, rows(20))
    request_ids, request_dense, item_ids, item_dense = rows(20).inputs
    served = model(request_ids, request_dense, item_ids, item_dense, torch.arange(20))
    for k, task in enumerate(TASKS):
        found = scores(model, k, raw)
        values = expit(found) if task.kind == "binary" else found
        np.testing.assert_allclose(values, served[k].detach().numpy(), rtol=1e-5)


def test_prediction_does_not_depend_on_how_many_rows_pass_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, split = hybrid(), rows(100)
    whole = predict(model, split)
    monkeypatch.setattr("training.evaluation.SCORED_AT_ONCE", 33)
    torch.testing.assert_close(predict(model, split), whole)
    assert not model.training


def test_a_report_holds_chains_over_impressions_and_figures_before_calibration() -> None:
    model, split = hybrid(), rows()
    for head in model.each_head[:2]:
        assert isinstance(head, BinaryHead)
        head.calibration.line.copy_(torch.tensor([0.5, -2.0]))
    report = assess(model, split, split)
    assert list(report) == ["validation", "test", "test, uncalibrated"]
    changed = {"ctr", "cvr", "ctcvr", "ctr*cvr*paid"}
    assert [set(tasks) - changed for tasks in report.values()] == [{"paid", "watch"}, {"paid", "watch"}, set()]
    assert report["validation"] == report["test"]
    raw, labels = predict(model, split), split.labels.double().numpy()
    for name, calibrated in (("test", True), ("test, uncalibrated", False)):
        p = [expit(scores(model, k, raw, calibrated).astype(np.float64)) for k in range(2)]
        assert report[name]["ctcvr"]["rows"] == len(split)
        assert report[name]["ctcvr"]["calibration"] == pytest.approx((p[0] * p[1]).sum() / labels[:, 1].sum(), rel=1e-5)
        amount = p[0] * p[1] * scores(model, 2, raw)
        revenue = report[name]["ctr*cvr*paid"]
        assert "rmse" in revenue
        assert revenue["calibration"] == pytest.approx(amount.sum() / (labels[:, 1] * labels[:, 2]).sum(), rel=1e-5)
    assert all(changed <= set(tasks) for tasks in report.values())


def binary(auc: float | None, log_loss: float | None, positives: int = 50) -> BinaryMetrics:
    return {
        "auc": auc, "gauc": None, "gauc_share": None, "log_loss": log_loss, "ece": None, "calibration": None,
        "rows": 100, "positives": positives,
    }  # fmt: skip


def continuous(rmse: float | None, spearman: float | None, rows: int = 100) -> ContinuousMetrics:
    return {"rmse": rmse, "mae": None, "spearman": spearman, "gini": None, "calibration": None, "rows": rows}


def test_selection_is_by_order_and_by_errors_where_there_is_none() -> None:
    assert selection_score({"a": binary(0.6, 9.0), "b": binary(0.8, 9.0)}) == pytest.approx(0.7)
    assert selection_score({"a": binary(0.6, 9.0), "b": binary(None, 9.0)}) == pytest.approx(0.6)
    # variances 101 / (12 * 2500) and 101 / (12 * 99): the second AUC counts 99 where the first counts 2500
    rare = selection_score({"a": binary(0.6, 9.0), "b": binary(0.8, 9.0, positives=1)})
    assert rare == pytest.approx((2500 * 0.6 + 99 * 0.8) / 2599)
    assert selection_score({"a": continuous(5.0, 0.4)}) == pytest.approx(0.7)
    # Spearman's variance is 1 / 99, that of (1 + Spearman) / 2 a quarter of it
    weights = 12 * 2500 / 101, 4 * 99
    both = selection_score({"a": binary(0.6, 9.0), "b": continuous(5.0, 0.4)})
    assert both == pytest.approx((0.6 * weights[0] + 0.7 * weights[1]) / sum(weights))
    assert selection_score({"a": binary(None, 0.5), "b": binary(None, None)}) == pytest.approx(-0.5)
    assert selection_score({"a": continuous(2.0, None), "b": continuous(None, None, rows=0)}) == pytest.approx(-2.0)


@pytest.mark.parametrize("broken", [binary(0.5, math.nan), continuous(math.nan, 0.9), continuous(math.inf, 0.9)])
def test_a_model_that_diverged_has_no_score(broken: TaskMetrics) -> None:
    assert math.isnan(selection_score({"a": binary(0.6, 0.5), "b": broken}))


def test_outputs_that_are_no_numbers_have_no_score() -> None:
    model = hybrid()
    with torch.no_grad():
        dict(model.named_parameters())["towers.3.head.bias"].fill_(math.nan)
    assert math.isnan(selection_score(evaluate(model, rows())))


def test_one_line_tells_both_kinds() -> None:
    line = told({"ctr": binary(0.717, 0.64291), "watch": continuous(12.5, None)})
    assert line == "ctr AUC 0.7170 (log loss 0.6429), watch RMSE 12.5000 (Spearman –)"
