"""A real experiment with known answers: Hillstrom's e-mails (64,000 customers)."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from service.experiments.log.records import MICROS
from service.experiments.outcomes.moments import Moments
from service.experiments.outcomes.sums import ArmSums
from service.experiments.readout.intervals import one_look
from service.experiments.readout.pairs import pair
from service.experiments.readout.ratio_check import check
from service.experiments.readout.ratios import METRICS, pooled
from tests.service.experiments.readout.users import moments, sums

RAW = Path(os.environ.get("TWINSCORE_DATA", "../shared/data")) / "hillstrom" / "hillstrom.csv.gz"
pytestmark = pytest.mark.skipif(not RAW.is_file(), reason=f"{RAW} is absent; set TWINSCORE_DATA")
SEGMENTS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
Table = dict[str, list[str]]


@pytest.fixture(scope="module")
def table() -> Table:
    with gzip.open(RAW, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.fixture(scope="module")
def arms(table: Table) -> dict[str, Moments]:
    """A visit is a click of the one exposure; spend is the value, history the value before."""
    segment = np.array(table["segment"])
    money = {name: np.array([round(float(each) * MICROS) for each in table[name]]) for name in ("spend", "history")}
    columns = {
        "exposures": np.ones(len(segment), int),
        "clicks": np.array(table["visit"], int),
        "conversions": np.array(table["conversion"], int),
        "value": money["spend"],
        "prior_value": money["history"],
    }
    return {name: moments({key: column[segment == name] for key, column in columns.items()}) for name in SEGMENTS}


@pytest.mark.parametrize(
    ("metric", "difference", "p_value"),
    [("ctr", "+0.060882", "5e-106"), ("ctcvr", "+0.004955", "5e-12"), ("value", "+0.596796", "1.1e-07")],
)
def test_any_email_against_none(arms: dict[str, Moments], metric: str, difference: str, p_value: str) -> None:
    none, email = arms["No E-Mail"], pooled(arms["Mens E-Mail"], arms["Womens E-Mail"])
    found = pair(none, email, METRICS[metric], prior=False)
    assert found is not None
    assert f"{found.difference:+.6f}" == difference
    look = one_look(none, email, METRICS[metric], False, 0.05)
    assert look is not None
    assert f"{look.effect_size:+.6f}" == difference
    assert f"{look.pvalue:.{1 if '.' in p_value else 0}e}" == p_value


def test_sample_ratio(arms: dict[str, Moments]) -> None:
    counted = {name: ArmSums(moments=each) for name, each in arms.items()}
    weights = {1: dict.fromkeys(SEGMENTS, 1)}
    found = check(sums(arms=counted), SEGMENTS, 1, weights)
    assert found.p_value is not None
    assert f"{found.p_value:.2f}" == "0.90"
    assert not found.alarm


def test_cuped_with_history_is_the_regression(table: Table, arms: dict[str, Moments]) -> None:
    spend, history = (np.array(table[name], float) for name in ("spend", "history"))
    mailed = np.array(table["segment"]) != "No E-Mail"
    theta = np.cov(spend, history)[0, 1] / history.var(ddof=1)
    adjusted = spend - theta * history
    groups = adjusted[mailed], adjusted[~mailed]
    email = pooled(arms["Mens E-Mail"], arms["Womens E-Mail"])
    found = pair(arms["No E-Mail"], email, METRICS["value"], prior=True)
    assert found is not None
    assert found.cuped
    assert found.difference == pytest.approx(groups[0].mean() - groups[1].mean(), rel=1e-9)
    variance = sum(group.var(ddof=1) / len(group) for group in groups)
    assert found.difference_variance == pytest.approx(variance, rel=1e-9)
    assert f"{found.difference:.6f}" == "0.594496"
