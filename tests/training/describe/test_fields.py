"""Fields of planted data against a reader that joins everything in memory."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.crossing import cross_ids
from contract.field import Encoding, Field, Side
from tests.training.describe.planted import DEVICES, ITEMS, ROWS, USERS, Planted, plant
from training.describe import impressions
from training.describe.command import describe
from training.describe.findings import FieldFound, Findings
from training.describe.values import value_texts


def field(found: Findings, name: str) -> FieldFound:
    return next(each for each in found.fields if each.name == name)


def test_a_stored_field_counts_by_impression(clean: Planted, found: Findings) -> None:
    rows = clean.rows["train"]["user_id"].value_counts().sort("count", "user_id", descending=[True, False])
    top = field(found, "user_id").top
    assert [(value.id, value.rows) for value in top] == rows.head(10).rows()
    assert top[0].text == f"u{top[0].id - 1}"
    assert field(found, "user_id").splits["test"].distinct == clean.rows["test"]["user_id"].n_unique()


def test_rates_of_each_value(clean: Planted, found: Findings) -> None:
    rows = clean.rows["train"]
    for value in field(found, "device").top:
        own = rows.filter(pl.col("device") == value.id)
        assert value.text == DEVICES[value.id - 1]
        assert value.share == pytest.approx(len(own) / len(rows))
        assert value.tasks["ctr"].rate == pytest.approx(own["label:ctr"].mean())
        clicked = own.filter(pl.col("label:ctr") == 1)
        assert (value.tasks["cvr"].rows, value.tasks["cvr"].positives) == (len(clicked), clicked["label:cvr"].sum())
    absent = field(found, "device").absent
    assert absent is not None
    assert absent.rows == (rows["device"] == 0).sum()


def test_coverage(clean: Planted, found: Findings) -> None:
    for split, rows in clean.rows.items():
        assert field(found, "device").splits[split].coverage == pytest.approx((rows["device"] > 0).mean())
        any_tag = (rows["tags"].to_numpy() > 0).any(axis=1)
        assert field(found, "tags").splits[split].coverage == pytest.approx(any_tag.mean())


def test_values_of_a_multi_field_count_once_a_row(clean: Planted, found: Findings) -> None:
    tags = clean.rows["train"]["tags"].to_numpy()
    expected = {i: int((tags == i).any(axis=1).sum()) for i in range(1, 9)}
    assert {value.id: value.rows for value in field(found, "tags").top} == expected
    assert field(found, "tags").splits["train"].length == pytest.approx(sum(expected.values()) / ROWS["train"])


def test_a_number(clean: Planted, found: Findings) -> None:
    ages, age = clean.rows["test"]["age"], field(found, "age")
    own = age.splits["test"]
    assert own.mean == pytest.approx(ages.mean())
    assert own.sd == pytest.approx(ages.std(ddof=0))
    assert (own.least, own.most) == (ages.min(), ages.max())
    assert own.coverage is None
    assert age.quantiles["0.5"] == clean.rows["train"]["age"].quantile(0.5)
    assert sum(part for _, part in age.histogram) == pytest.approx(1)


def test_a_cross_is_computed(clean: Planted, found: Findings) -> None:
    rows = clean.rows["train"]
    ids = cross_ids(rows["user_id"].to_numpy(), rows["device"].to_numpy(), 50)
    first = field(found, "user_device").top[0]
    assert first.rows == np.bincount(ids)[1:].max()
    assert first.rows == (ids == first.id).sum()


def test_clean_data_are_steady(found: Findings) -> None:
    for each in found.fields:
        for split in ("validation", "test"):
            drift = each.splits[split].drift
            assert drift is not None
            assert drift.word == "steady", (each.name, drift)
    assert {remark.about for remark in found.remarks} == {"rows"}  # so few users and items meet again


def test_the_same_whatever_the_chunk(clean: Planted, found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impressions, "ROWS", 700)
    again = describe(clean.data)
    assert again.tasks[0].splits["train"].answers == found.tasks[0].splits["train"].answers
    assert again.duplicates == found.duplicates
    assert [each.model_dump(exclude={"splits"}) for each in again.fields] == [
        each.model_dump(exclude={"splits"}) for each in found.fields
    ]


def test_new_values_and_drift(tmp_path: Path) -> None:
    old = np.random.default_rng(1).integers(0, 4, ROWS["test"]).astype(np.int32)
    changed = np.where(np.arange(ROWS["test"]) < 1000, 0, old).astype(np.int32)  # as unseen values are
    found = describe(plant(tmp_path / "data", test={"device": pl.Series(changed)}).data)
    device = field(found, "device")
    assert device.new_is == "estimate"
    assert device.splits["test"].new == pytest.approx((changed == 0).mean() - (device.absent or device.top[0]).share)
    assert device.splits["validation"].new == pytest.approx(0, abs=0.03)
    drift = device.splits["test"].drift
    assert drift is not None
    assert drift.word == "drifted"
    texts = [remark.text for remark in found.warnings if remark.about == "device"]
    assert len(texts) == 2
    assert "validation" not in " ".join(texts)


def test_ids_that_training_never_met_are_new(tmp_path: Path) -> None:
    """An extended dictionary has ids for values that came later."""
    planted = plant(tmp_path / "data", test={":user": pl.Series(np.arange(ROWS["test"]) % USERS, dtype=pl.Int32)})
    train = planted.data.path / "interactions" / "train"
    for path in train.iterdir():
        pl.read_parquet(path).with_columns(pl.col(":user") % (USERS // 2)).write_parquet(path)
    new = field(describe(planted.data), "user_id").splits["test"].new
    assert new == pytest.approx(0.5, abs=0.05)


def test_items_without_impressions_do_not_count(found: Findings) -> None:
    assert found.items == ITEMS
    assert sum(each.rows for each in field(found, "device").top) < ROWS["train"]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Field(name="h", side=Side.CONTEXT, encoding=Encoding.HOUR), ["00:00", "01:00", "02:00"]),
        (Field(name="w", side=Side.CONTEXT, encoding=Encoding.WEEKDAY), ["Monday", "Tuesday", "Wednesday"]),
        (
            Field(name="q", side=Side.ITEM, encoding=Encoding.QUANTILE, buckets=9, edges=(0, 2.5)),
            ["below 0", "0 to 2.5", "from 2.5"],
        ),
        (Field(name="b", side=Side.ITEM, encoding=Encoding.HASH, buckets=9), ["bucket 1", "bucket 2", "bucket 3"]),
    ],
)
def test_texts_of_computed_ids(clean: Planted, known: Field, expected: list[str]) -> None:
    assert value_texts(clean.data, known, [1, 2, 3]) == expected
