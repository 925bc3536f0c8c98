"""The oracle's metrics in bins equal the exact ones."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.training.datasets.synthetic.drawn import all_rows
from training.datasets.synthetic.oracle import Tally, oracle
from training.datasets.synthetic.spec import Spec
from training.datasets.synthetic.tables import draw
from training.metrics import expected_calibration_error

LOG = all_rows(draw(Spec(100_000, users=5_000, items=500, conversion_rate=0.2)).interactions)


@pytest.mark.parametrize("parts", [1, 7])
def test_it_is_that_of_the_true_probabilities(parts: int) -> None:
    found = oracle(LOG[start : start + -(-len(LOG) // parts)] for start in range(0, len(LOG), -(-len(LOG) // parts)))
    clicks = LOG.filter(pl.col("click") == 1)
    both = (LOG["truth:ctr"] * LOG["truth:cvr"]).to_numpy()
    cases = {
        "ctr": (LOG["truth:ctr"].to_numpy(), LOG["click"].to_numpy()),
        "cvr": (clicks["truth:cvr"].to_numpy(), clicks["conversion"].to_numpy()),
        "ctcvr": (both, LOG["conversion"].to_numpy()),
    }
    for name, (truth, labels) in cases.items():
        metrics = found[name]
        assert (metrics.rows, metrics.positives) == (len(labels), labels.sum())
        assert metrics.auc == pytest.approx(roc_auc_score(labels, truth), abs=1e-5)
        assert metrics.log_loss == pytest.approx(log_loss(labels, truth.astype(np.float64)), rel=1e-6)
        assert metrics.calibration == pytest.approx(truth.sum() / labels.sum(), rel=1e-4)
        exact = expected_calibration_error(truth.astype(np.float64), labels.astype(np.float64))
        assert metrics.ece == pytest.approx(exact, abs=2e-4)


def test_the_truth_is_calibrated() -> None:
    found = oracle([LOG])
    assert found["ctr"].calibration == pytest.approx(1, abs=0.05)
    assert found["ctcvr"].calibration == pytest.approx(1, abs=0.12)
    assert found["ctr"].ece < 0.003


def test_one_class_has_no_auc() -> None:
    tally = Tally()
    tally.add(np.array([0.2, 0.4], np.float32), np.array([False, False]))
    assert (tally.metrics().auc, tally.metrics().calibration) == (None, None)
    assert tally.metrics().log_loss == pytest.approx(-np.log([0.8, 0.6]).mean())


def test_equal_probabilities_are_ties() -> None:
    tally = Tally()
    tally.add(np.array([0.3, 0.3, 0.3, 0.9], np.float32), np.array([True, False, False, True]))
    assert tally.metrics().auc == 0.75
