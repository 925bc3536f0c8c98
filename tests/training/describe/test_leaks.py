"""The alarm rings for what was written after the label, and for nothing else."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from contract.field import Field, Kind, Side
from contract.schema import Task
from tests.training.describe.planted import Planted
from training.datasets.census import COLUMNS, FILE, NEVER_INPUTS, read_census
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import Prepared
from training.datasets.raw import RawTable
from training.describe.command import describe
from training.describe.counts import Counts, Target
from training.describe.findings import Findings, Leak
from training.describe.leaks import ByMean, equals, leak
from training.describe.measures import SCORE_BINS

RAW = Path(os.environ.get("TWINSCORE_DATA", "../shared/data")) / "census"
needs_data = pytest.mark.skipif(not RAW.is_dir(), reason=f"{RAW} is absent; set TWINSCORE_DATA")
CTR = Target(Task(name="ctr", label="click"))


def of(found: Findings, field: str, task: str = "ctr") -> Leak:
    known = next(each for each in found.fields if each.name == field)
    return next(each for each in known.leaks if each.task == task)


def counts(ids: np.ndarray, labels: np.ndarray, size: int) -> Counts:
    """The same rows in training and validation, none in test."""
    found = Counts(3, 3, size, 10 * len(ids))
    for split in (0, 1):
        weights = np.stack([np.ones(len(ids), bool), np.ones(len(ids), bool), labels])
        found.add(split, ids.astype(np.int32)[:, None], weights)
    return found


def test_clean_data_ring_no_alarm(found: Findings) -> None:
    assert found.alarms == []
    assert 0.6 < (of(found, "device").auc or 0) < 0.8


def test_planted_leaks_ring(leaks: Findings) -> None:
    assert {remark.about for remark in leaks.alarms} == {"outcome", "dwell", "badges"}
    assert all(remark.alarm for remark in leaks.remarks[: len(leaks.alarms)])
    outcome = of(leaks, "outcome")
    assert outcome.equals
    assert outcome.auc == 1
    assert "equals the label of ctr" in leaks.alarms[0].text
    assert not of(leaks, "outcome", "cvr").alarm


def test_a_number_as_it_is(leaking: Planted, leaks: Findings) -> None:
    rows = leaking.rows["validation"]
    expected = roc_auc_score(rows["label:ctr"], -rows["dwell"])
    dwell = of(leaks, "dwell")
    assert 0.96 < expected < 0.98
    assert dwell.auc == pytest.approx(expected, abs=1e-3)
    assert dwell.way == "its value, the lower the likelier"
    assert not dwell.equals


def test_a_multi_field_tells_by_the_mean_of_its_values(leaks: Findings) -> None:
    assert (of(leaks, "badges").way, of(leaks, "badges").auc) == ("mean of the values' rates", 1)


def test_one_value_of_many_tells() -> None:
    """The others drown it in the mean."""
    labels = np.arange(1000) < 100
    means = np.zeros(SCORE_BINS, np.int64)
    means[5] = 1000
    alike = ByMean((means, means // 10), (1000, 100))
    own = leak(Kind.MULTI, counts(np.where(labels, 3, np.arange(1000) % 3), labels, 5), 0, CTR, 1, alike)
    assert (own.way, own.auc, own.alarm) == ("its best single value", 1, True)


def test_a_category_is_fitted_on_training_and_measured_elsewhere(clean: Planted, found: Findings) -> None:
    train, held = clean.rows["train"], clean.rows["validation"]
    rate = dict(train.group_by("device").agg(pl.col("label:ctr").mean()).iter_rows())
    expected = roc_auc_score(held["label:ctr"], [rate[i] for i in held["device"]])
    assert of(found, "device").auc == pytest.approx(expected, abs=1e-9)
    assert (of(found, "device").split, of(found, "device").rows) == ("validation", len(held))


def test_a_value_of_its_own_for_each_row_tells_nothing() -> None:
    """Training knows each of these labels; the other rows have other values."""
    rng = np.random.default_rng(1)
    labels = rng.random(2000) < 0.1
    found = Counts(3, 3, 4001, 10_000)
    for split in (0, 1):
        ids = np.arange(1 + 2000 * split, 2001 + 2000 * split, dtype=np.int32)[:, None]
        found.add(split, ids, np.stack([np.ones(2000, bool), np.ones(2000, bool), labels]))
    own = leak(Kind.CATEGORICAL, found, 0, CTR, 1, None)
    assert own.auc == 0.5
    assert not own.alarm


def test_a_number_that_is_high_or_low_for_the_positive_rows_rings() -> None:
    ids = np.arange(3000) % 30
    labels = (ids < 3) | (ids > 26)
    own = leak(Kind.NUMERIC, counts(ids, labels, 30), 0, CTR, 1, None)
    assert own.alarm
    assert own.way == "rate of each value in training"


def test_few_positives_are_no_proof() -> None:
    ids, labels = np.arange(1000) % 500, np.zeros(1000, bool)
    labels[[7, 507]] = True
    own = leak(Kind.CATEGORICAL, counts(ids, labels, 500), 0, CTR, 1, None)
    assert own.auc is not None
    assert own.auc > 0.95
    assert not own.sure
    assert not own.alarm


def test_equal_both_ways_only() -> None:
    labels = np.arange(100) < 50
    assert equals(counts(np.where(labels, 3, 0), labels, 5), 0)
    assert equals(counts(np.where(labels, 0, 3), labels, 5), 0)
    assert not equals(counts(np.arange(100) % 50, labels, 50), 0)
    assert not equals(counts(np.where(labels, 3, np.arange(100) % 2), labels, 5), 0)  # two values of the negative ones
    assert not equals(counts(np.full(100, 2), labels, 5), 0)


@needs_data
def test_the_columns_that_census_leaves_out_would_ring(tmp_path: Path) -> None:
    raw, told = read_census(RAW), ["marital_status", "household_family_detail", "household_summary", "tax_filer_status"]
    assert set(told) < set(NEVER_INPUTS)
    cells = pl.read_csv(RAW / FILE, has_header=False, infer_schema=False, quote_char=None, new_columns=list(COLUMNS))
    persons = cells.select(pl.int_range(pl.len()).alias("person"), "age", *told)
    fields = (raw.schema.by_name["age"], *(Field(name=name, side=Side.USER) for name in told))
    schema = raw.schema.model_copy(update={"fields": fields})
    write_prepared(replace(raw, schema=schema, users=RawTable.of("persons", persons)), tmp_path / "told")
    found = describe(Prepared.open(tmp_path / "told"))
    assert {remark.about for remark in found.alarms} == {"marital_status", "household_family_detail"}
    aucs = {field.name: round(of(found, field.name, "never_married").auc or 0, 3) for field in found.fields}
    assert aucs == {
        "age": 0.942,  # as much as a leak, by right: no threshold parts them
        "marital_status": 1.0,
        "household_family_detail": 0.979,
        "household_summary": 0.945,
        "tax_filer_status": 0.896,
    }
