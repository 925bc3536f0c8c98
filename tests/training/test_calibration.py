"""Calibration against scikit-learn, in the exported graph, and on data that were miscalibrated on purpose."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from contract.bundle import INPUTS, TOLERANCE
from contract.schema import Task
from export.draws import draw_inputs
from export.model import export_graph
from export.parity import cpu_session, onnx_scores, verify
from tests.training import tiny
from training.batches import Batch
from training.calibration import FEWEST, calibrate, isotonic, platt
from training.evaluation import assess, evaluate, predict, scores
from training.metrics import expected_calibration_error
from training.models import MODELS, Ranker, build_model
from training.models.calibration import KNOTS, SPAN, Calibration, Method
from training.models.heads import BinaryHead

Floats = NDArray[np.float64]
METHODS: tuple[Method, ...] = ("platt", "isotonic")
WATCH = Task(name="watch", kind="continuous", label="w")


def miscalibrated(rows: int, base: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Logits that promise wrongly, and labels; `base` sets how rare positives are."""
    draw = np.random.default_rng(seed)
    true = base + 1.5 * draw.normal(size=rows)
    return 1.8 * true + 1 + 0.3 * draw.normal(size=rows), (draw.random(rows) < expit(true)).astype(np.float64)


def fitted(method: Method, logits: Floats, targets: Floats) -> Calibration:
    calibration = Calibration(method)
    if method == "platt":
        calibration.line.copy_(torch.from_numpy(platt(logits, targets)))
    else:
        calibration.knots.copy_(torch.from_numpy(isotonic(logits, targets)))
    return calibration


def applied(calibration: Calibration, logits: Floats) -> Floats:
    """Calibrated probabilities."""
    probabilities: Floats = calibration(torch.from_numpy(logits).float()).double().sigmoid().numpy()
    return probabilities


@pytest.mark.parametrize("base", [-1.0, -5.0])
def test_platt_is_logistic_regression_on_smoothed_targets(base: float) -> None:
    z, y = miscalibrated(5000, base)
    high, low = (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2)
    soft = np.where(y == 1, high, low)
    twice = np.concatenate([z, z])[:, None], np.repeat([1, 0], len(z)), np.concatenate([soft, 1 - soft])
    model = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(twice[0], twice[1], sample_weight=twice[2])
    np.testing.assert_allclose(platt(z, y), [model.coef_[0, 0], model.intercept_[0]], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("base", [-1.0, -5.0])
def test_isotonic_agrees_with_isotonic_regression(base: float) -> None:
    z, y = miscalibrated(20_000, base)
    reference = IsotonicRegression(out_of_bounds="clip").fit(z, y).predict(z)
    found = applied(fitted("isotonic", z, y), z)
    assert np.abs(found - reference).mean() < 0.1 * y.mean()  # raw: 0.5 of the mean and more
    assert found.sum() / y.sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("base", [-1.0, -5.0])
def test_predicted_over_observed_and_ece_mend_on_other_data(method: Method, base: float) -> None:
    calibration = fitted(method, *miscalibrated(20_000, base))
    z, y = miscalibrated(20_000, base, seed=1)
    before, after = expit(z), applied(calibration, z)
    assert abs(before.sum() / y.sum() - 1) > 0.2
    assert after.sum() / y.sum() == pytest.approx(1, abs=0.12 if base == -5 else 0.03)  # 300 positives: 6 %
    errors = [expected_calibration_error(p, y) for p in (before, after)]
    assert errors[0] is not None
    assert errors[1] is not None
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_candidates_stays(method: Method) -> None:
    draw = np.random.default_rng(0)
    z = draw.normal(size=2000)
    upside_down = (draw.random(2000) < expit(-2 * z)).astype(np.float64)  # the worse, the likelier
    line = torch.linspace(-30, 30, 5001)
    assert (fitted(method, z, upside_down)(line).diff() >= 0).all()
    assert (fitted(method, *miscalibrated(2000, -1.0))(line).diff() >= 0).all()


@pytest.mark.parametrize("logits", [np.zeros(200), np.repeat([0.0, 1.0], 100), np.r_[np.zeros(199), 1e4]])
def test_logits_that_hardly_differ_can_be_calibrated(logits: Floats) -> None:
    y = (np.arange(200) % 4 == 0).astype(np.float64)
    for method in METHODS:
        assert applied(fitted(method, logits, y), logits).mean() == pytest.approx(0.25, abs=0.01)


def test_the_graphs_knots_are_linear_interpolation() -> None:
    calibration = Calibration("isotonic")
    torch.testing.assert_close(calibration(torch.tensor([-3.3, 0.0, 7.1])), torch.tensor([-3.3, 0.0, 7.1]))
    assert calibration(torch.tensor([99.0])).item() == SPAN
    draw = np.random.default_rng(0)
    before, after = np.sort(draw.normal(size=KNOTS)) * 3, np.sort(draw.normal(size=KNOTS))
    calibration.knots.copy_(torch.from_numpy(np.stack([before, after])))
    z = np.linspace(-12, 12, 999)
    np.testing.assert_allclose(calibration(torch.from_numpy(z).float()).numpy(), np.interp(z, before, after), atol=1e-4)


def over_confident(method: Method) -> Ranker:
    """A model of two binary tasks and a continuous one that has learnt nothing and is sure of it."""
    torch.manual_seed(0)
    schema = tiny.schema(tasks=(tiny.CLICK, tiny.BUY, WATCH))
    model = build_model("ple", schema, MODELS["ple"].settings(calibration=method, embedding=4, tower=(8,)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("head.weight"):
                parameter.mul_(20)
            if name.endswith("head.bias"):
                parameter.add_(2)
    return model


def rows(model: Ranker, seed: int, count: int = 600) -> Batch:
    """Impressions whose click depends on the user, whose purchase on the click."""
    schema = tiny.schema(tasks=model.schema_tasks)
    inputs = tiny.inputs(schema, items=count, requests=count, seed=seed)[:4]
    draw = np.random.default_rng(seed)
    labels = np.stack([draw.random(count) < p for p in (0.3, 0.4, 0.5)], axis=1).astype(np.float32)
    counted = np.stack([np.ones(count), labels[:, 0], np.ones(count)], axis=1).astype(np.float32)
    return Batch(*inputs, torch.from_numpy(labels), torch.from_numpy(counted))


@pytest.mark.parametrize("method", METHODS)
def test_each_binary_task_is_calibrated_on_its_own_rows(method: Method) -> None:
    model = over_confident(method)
    validation, test = rows(model, 1), rows(model, 2)
    watch = scores(model, 2, predict(model, validation))
    assert calibrate(model, validation) == []
    report = assess(model, validation, test)
    for task in ("ctr", "cvr", "ctcvr"):
        before, after = report["test, uncalibrated"][task], report["test"][task]
        assert "auc" in before
        assert "auc" in after
        assert before["ece"] is not None
        assert after["ece"] is not None
        assert after["ece"] < before["ece"] / 2
        assert after["calibration"] == pytest.approx(1, abs=0.2)
    in_sample = report["validation"]["cvr"]
    assert in_sample["calibration"] == pytest.approx(1, abs=2e-3)
    np.testing.assert_array_equal(scores(model, 2, predict(model, validation)), watch)


def test_a_task_with_few_positives_is_left_as_it_is() -> None:
    model = over_confident("platt")
    validation = rows(model, 1)
    bought = validation.labels[:, 1] * validation.counted[:, 1]
    labels = validation.labels.clone()
    labels[:, 1] = bought * (bought.cumsum(0) < FEWEST)
    assert labels[:, 1].sum() == FEWEST - 1
    few = Batch(*validation.inputs, labels, validation.counted)
    before = evaluate(model, few)
    assert calibrate(model, few) == ["cvr"]
    after = evaluate(model, few)
    assert after["cvr"] == before["cvr"]
    assert after["ctr"] != before["ctr"]


def test_without_a_method_nothing_is_fitted_or_reported_twice() -> None:
    model = over_confident("none")
    validation = rows(model, 1)
    assert calibrate(model, validation) == []
    assert set(assess(model, validation, validation)) == {"validation", "test"}


@pytest.mark.parametrize("method", METHODS)
def test_calibration_is_in_the_exported_graph(method: Method, tmp_path: Path) -> None:
    model = over_confident(method)
    schema = tiny.schema(tasks=model.schema_tasks)
    calibrate(model, rows(model, 1))
    export_graph(model, schema, tmp_path / "model.onnx")
    assert verify(model, schema, tmp_path / "model.onnx") <= TOLERANCE
    inputs = draw_inputs(schema, requests=3, items=50, seed=0)
    served = onnx_scores(cpu_session(tmp_path / "model.onnx"), inputs)["ctr"]
    head = model.each_head[0]
    assert isinstance(head, BinaryHead)
    raw = model.eval().raw(*(torch.from_numpy(inputs[name]) for name in INPUTS)).detach()
    assert np.abs(served - raw[:, 0].sigmoid().numpy()).max() > 0.1
    np.testing.assert_allclose(served, head.calibration(raw[:, 0]).sigmoid().numpy(), atol=TOLERANCE)
