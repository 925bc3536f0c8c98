"""Metrics against scikit-learn, SciPy and plain loops, and where they are undefined."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import log_loss as reference_log_loss
from sklearn.metrics import roc_auc_score

from contract.schema import Task
from training.metrics import (
    auc,
    binary_metrics,
    composed,
    continuous_metrics,
    expected_calibration_error,
    gauc,
    lift_share,
    log_loss,
    normalised_gini,
    soft_auc,
    spearman,
    task_metrics,
)

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40)
USERS_ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3), st.booleans()), min_size=1, max_size=60)
PAIRS = st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 5)), min_size=2, max_size=40)
Vector = NDArray[np.float64]


def test_auc_known_by_hand() -> None:
    assert auc(np.array([3.0, 1, 2, 2]), np.array([1.0, 0, 1, 0])) == (1 + 1 + 1 + 0.5) / 4


@given(ROWS.filter(lambda rows: len({label for _, label in rows}) == 2))
def test_auc_counts_ties_half(rows: list[tuple[int, bool]]) -> None:
    scores, labels = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("rate", [0.03, 0.5, 0.97])
def test_auc_of_many_rows(rate: float) -> None:
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=50_000).round(3), (random.random(50_000) < rate).astype(np.float64)
    for given_scores in (scores, scores.astype(np.float32)):
        assert auc(given_scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
def test_auc_of_one_class_is_undefined(labels: list[int]) -> None:
    assert auc(np.zeros(len(labels), np.float32), np.array(labels, np.float32)) is None


@given(USERS_ROWS, st.booleans())
def test_gauc_is_the_mean_over_users_by_impressions(rows: list[tuple[int, int, bool]], single: bool) -> None:
    users, scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    own = [users == user for user in np.unique(users)]
    mixed = [(int(of.sum()), roc_auc_score(labels[of], scores[of])) for of in own if len(set(labels[of])) == 2]
    signed = np.where(labels & (scores == 0), -0.0, scores / 10)
    found = gauc(signed.astype(np.float32) if single else signed, labels.astype(np.float32), users.astype(np.int32))
    assert found.share == pytest.approx(sum(n for n, _ in mixed) / len(rows))
    if mixed:
        assert found.value == pytest.approx(np.average([a for _, a in mixed], weights=[n for n, _ in mixed]), abs=1e-12)
    else:
        assert found.value is None


def test_gauc_of_many_users_and_of_none() -> None:
    random, n = np.random.default_rng(0), 20_000
    users = random.integers(2**31 - 500, 2**31, n).astype(np.int32)
    scores, labels = random.normal(size=n).astype(np.float32), (random.random(n) < 0.2).astype(np.float32)
    mixed = [of for user in np.unique(users) if len(set(labels[of := users == user])) == 2]
    expected = np.average([roc_auc_score(labels[of], scores[of]) for of in mixed], weights=[of.sum() for of in mixed])
    assert gauc(scores, labels, users).value == pytest.approx(expected, abs=1e-12)
    assert gauc(np.empty(0), np.empty(0), np.empty(0, np.int32)) == (None, None)


def test_log_loss() -> None:
    z, y = np.array([0.3, -2.0, 1.5]), np.array([1.0, 0.0, 0.0])
    assert log_loss(z, y) == pytest.approx(reference_log_loss(y, 1 / (1 + np.exp(-z))), abs=1e-12)
    assert log_loss(np.array([-200.0]), np.array([1.0])) == pytest.approx(200.0)
    assert log_loss(np.array([800.0]), np.array([1.0])) == 0
    assert log_loss(np.empty(0), np.empty(0)) is None


def test_calibration_error_of_equal_bins() -> None:
    p = np.arange(200) / 200
    y = (np.arange(200) % 3 == 0).astype(float)
    expected = np.abs((p - y).reshape(20, 10).mean(axis=1)).mean()
    order = np.random.default_rng(0).permutation(200)
    assert expected_calibration_error(p[order], y[order]) == pytest.approx(expected, abs=1e-12)
    assert expected_calibration_error(p, y, bins=1) == pytest.approx(abs(p.mean() - y.mean()), abs=1e-12)


@given(ROWS, st.randoms(use_true_random=False))
def test_calibration_error_does_not_split_ties(rows: list[tuple[int, bool]], random: object) -> None:
    """Every distinct prediction is a bin where there are fewer of them than bins; the order of rows is all the same."""
    steps, y = (np.array(column, float) for column in zip(*rows, strict=True))
    p = (steps + 4) / 8
    gaps = [abs((p - y)[p == value].sum()) for value in np.unique(p)]
    found = expected_calibration_error(p, y, bins=1000)
    assert found == pytest.approx(sum(gaps) / len(p), abs=1e-12)
    assert expected_calibration_error(p[::-1], y[::-1]) == pytest.approx(expected_calibration_error(p, y), abs=1e-12)


def test_calibration_error_of_true_probabilities_is_small() -> None:
    random = np.random.default_rng(0)
    p = random.beta(1, 9, 100_000)
    y = (random.random(100_000) < p).astype(float)
    assert (expected_calibration_error(p, y) or 1) < 0.004
    assert expected_calibration_error(np.sqrt(p), y) == pytest.approx(np.sqrt(p).mean() - y.mean(), abs=1e-9)
    assert expected_calibration_error(np.empty(0), np.empty(0)) is None


def test_binary_metrics_of_counted_rows() -> None:
    logits = np.log(np.array([0.75, 0.25, 0.5, 0.9]) / np.array([0.25, 0.75, 0.5, 0.1])).astype(np.float32)
    labels, users = np.array([1, 0, 0, 1], np.float32), np.array([5, 5, 7, 7], np.int32)
    metrics = task_metrics(logits, labels, np.array([True, True, True, False]))
    assert (metrics["rows"], metrics["positives"], metrics["auc"]) == (3, 1, 1.0)
    assert metrics["calibration"] == pytest.approx(1.5, abs=1e-6)
    assert metrics["ece"] == pytest.approx((0.25 + 0.25 + 0.5) / 3, abs=1e-6)
    assert (metrics["gauc"], metrics["gauc_share"]) == (None, None)
    metrics = binary_metrics(logits[:3], labels[:3], users[:3])
    assert metrics["gauc"] == 1.0
    assert metrics["gauc_share"] == pytest.approx(2 / 3)


def test_calibration_without_positives_is_undefined() -> None:
    assert task_metrics(np.zeros(2), np.zeros(2), np.ones(2, bool))["calibration"] is None


def test_nothing_counted() -> None:
    none = np.empty(0, np.float32)
    counts = {"rows": 0, "positives": 0}
    assert {k: v for k, v in binary_metrics(none, none, np.empty(0, np.int32)).items() if v is not None} == counts
    assert {k: v for k, v in continuous_metrics(none, none).items() if v is not None} == {"rows": 0}


def test_a_diverged_model_has_no_numbers() -> None:
    bad, y = np.array([np.nan, 0.0, 1.0], np.float32), np.array([1, 0, 1], np.float32)
    binary = binary_metrics(bad, y, np.zeros(3, np.int32))
    numbers = [binary["auc"], binary["gauc"], binary["log_loss"], binary["ece"], binary["calibration"]]
    continuous = continuous_metrics(bad, y)
    numbers += [continuous["rmse"], continuous["mae"], continuous["spearman"], continuous["gini"]]
    assert all(number is not None and math.isnan(number) for number in numbers)


def test_continuous_metrics_by_hand() -> None:
    metrics = continuous_metrics(np.array([1.0, 2, 5]), np.array([2.0, 2, 0]))
    assert metrics["rmse"] == pytest.approx(np.sqrt(26 / 3))
    assert metrics["mae"] == pytest.approx(2)
    assert metrics["calibration"] == pytest.approx(2)
    assert metrics["gini"] == pytest.approx(-1)
    assert metrics["rows"] == 3


@given(PAIRS)
def test_spearman_with_ties(rows: list[tuple[int, int]]) -> None:
    values, labels = (np.array(column, float) for column in zip(*rows, strict=True))
    if len(set(values)) == 1 or len(set(labels)) == 1:
        assert spearman(values, labels) is None
    else:
        assert spearman(values, labels) == pytest.approx(spearmanr(values, labels).statistic, abs=1e-12)


def area(labels: Vector) -> float:
    """Twice the area between the diagonal and the Lorenz curve of labels in this order, by trapezoids."""
    shares = np.concatenate([[0], np.cumsum(labels) / labels.sum()])
    return float(1 - (shares[1:] + shares[:-1]).sum() / len(labels))


@given(PAIRS.filter(lambda rows: len({label for _, label in rows}) > 1))
def test_gini_is_the_area_over_the_perfect_one(rows: list[tuple[int, int]]) -> None:
    values, labels = (np.array(column, float) for column in zip(*rows, strict=True))
    orders = [np.lexsort((sign * labels, values)) for sign in (1, -1)]  # best and worst order of ties: mean of both
    expected = np.mean([area(labels[order]) for order in orders]) / area(np.sort(labels))
    assert normalised_gini(values, labels) == pytest.approx(expected, abs=1e-9)


def test_gini_of_perfect_reversed_and_constant_order() -> None:
    labels = np.array([3.0, 0, 0, 7, 1])
    assert normalised_gini(labels**2, labels) == pytest.approx(1)
    assert normalised_gini(-labels, labels) == pytest.approx(-1)
    assert normalised_gini(np.zeros(5), labels) == pytest.approx(0)
    assert normalised_gini(labels, np.ones(5)) is None


CTR, CVR = Task(name="ctr", label="click"), Task(name="cvr", label="buy", space="ctr")


def test_ctcvr_is_over_all_impressions() -> None:
    p = np.array([[0.5, 0.2], [0.4, 0.5], [0.1, 0.9], [0.8, 0.5], [0.9, 0.9], [0.9, 0.9]], np.float32)
    y = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 0], [0, 0]], np.float32)
    known = np.array([[1, 1], [1, 1], [1, 1], [1, 0], [1, 0], [0, 1]], bool)  # the fifth click may still convert
    users = np.array([7, 7, 7, 9, 8, 9], np.int32)
    found = composed((CTR, CVR), p, y, known, users)
    assert list(found) == ["ctcvr"]
    metrics = found["ctcvr"]
    assert "auc" in metrics
    assert (metrics["rows"], metrics["positives"]) == (5, 1)  # the sixth cannot: no conversion, no click and conversion
    products, labels = np.array([0.1, 0.2, 0.09, 0.4, 0.81]), np.array([1, 0, 0, 0, 0])
    assert metrics["auc"] == roc_auc_score(labels, products)
    assert (metrics["gauc"], metrics["gauc_share"]) == (0.5, 0.6)  # of the one user with three rows
    assert metrics["log_loss"] == pytest.approx(reference_log_loss(labels, products), abs=1e-6)
    assert metrics["calibration"] == pytest.approx(products.sum(), abs=1e-6)


def test_sure_probabilities_compose() -> None:
    p, y = np.array([[1, 1], [0, 1], [1, 0.5]], np.float32), np.array([[1, 1], [0, 0], [1, 1]], np.float32)
    metrics = composed((CTR, CVR), p, y, np.ones((3, 2), bool), np.zeros(3, np.int32))["ctcvr"]
    assert "auc" in metrics
    assert (metrics["auc"], metrics["gauc"]) == (1.0, 1.0)
    assert metrics["log_loss"] == pytest.approx(np.log(2) / 3)


def test_chains_and_amounts_compose() -> None:
    atc = Task(name="atc", label="cart", space="ctr")
    spent = Task(name="spent", label="amount", kind="continuous", space="atc")
    p = np.array([[0.5, 0.5, 8.0], [0.1, 0.2, 50.0]])
    y = np.array([[1, 1, 3.0], [1, 0, np.nan]])
    found = composed((CTR, atc, spent), p, y, ~np.isnan(y))
    assert list(found) == ["ctr*atc", "ctr*atc*spent"]
    amount = found["ctr*atc*spent"]
    assert "rmse" in amount
    assert amount["rows"] == 2
    assert amount["rmse"] == pytest.approx(np.sqrt((1 + 1) / 2))  # 2 for 3, 1 for 0


def test_a_task_of_that_name_is_not_composed() -> None:
    tasks = (CTR, CVR, Task(name="ctcvr", label="both"))
    assert composed(tasks, np.full((2, 3), 0.5), np.ones((2, 3)), np.ones((2, 3), bool)) == {}
    assert composed((CTR,), np.full((2, 1), 0.5), np.ones((2, 1)), np.ones((2, 1), bool)) == {}


@pytest.mark.parametrize("weighted", [False, True])
def test_soft_auc_is_the_sum_over_pairs(weighted: bool) -> None:
    random = np.random.default_rng(0)
    s, p, w = random.normal(size=300).round(1), random.random(300), random.random(300) if weighted else np.ones(300)
    wins = (s[:, None] > s) + 0.5 * (s[:, None] == s)
    expected = ((w * p)[:, None] * (w * (1 - p)) * wins).sum() / ((w * p).sum() * (w * (1 - p)).sum())
    assert soft_auc(s, p, w if weighted else None) == pytest.approx(expected, abs=1e-12)


def test_soft_auc_of_certain_labels_is_the_auc() -> None:
    random = np.random.default_rng(0)
    s, y = random.normal(size=500).astype(np.float32).round(1), (random.random(500) < 0.3).astype(np.float32)
    assert soft_auc(s, y) == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    assert soft_auc(s, np.zeros(500)) is None
    assert soft_auc(np.zeros(500), np.full(500, 0.2)) == pytest.approx(0.5)
    assert lift_share(0.65, 0.8) == pytest.approx(0.5)


def test_soft_auc_is_what_drawn_labels_tend_to() -> None:
    """Conversions given clicks: weighted by the click probability, over all rows."""
    random, n = np.random.default_rng(0), 400_000
    click, conversion = random.beta(1, 9, n), random.beta(2, 5, n)
    scores = np.where(click > 0.1, conversion, random.random(n))  # good where clicks are
    clicked = random.random(n) < click
    converted = random.random(n) < conversion
    drawn = roc_auc_score(converted[clicked], scores[clicked])
    assert soft_auc(scores, conversion, click) == pytest.approx(drawn, abs=0.008)
    assert abs((soft_auc(scores, conversion) or 0) - drawn) > 0.01
