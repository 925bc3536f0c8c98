"""What `prepare` counted, in the report: exact rates of new and missing values; weights of weighted fields."""

from pathlib import Path

import polars as pl
import pytest

from tests.training.datasets.shop import SCHEMA, interactions, write_shop
from tests.training.describe.test_fields import field
from training.datasets.pipeline import Options, write_prepared
from training.datasets.prepared import Prepared
from training.datasets.table import read_tables
from training.describe.command import describe
from training.describe.page import page
from training.describe.text import new_share

WEIGHTED = "  - {name: likes, side: context, kind: multi, max_length: 3, weights: loads}\n"


def log() -> pl.DataFrame:
    """From row 320 on, the test split, half of the devices are new; every tenth is missing all along."""
    row = pl.int_range(400, eager=True)
    late = pl.when((row >= 320) & (row % 2 == 0)).then(pl.lit("new")).otherwise(pl.col("device"))
    return interactions().with_columns(
        device=pl.when(row % 10 > 0).then(late),
        likes=pl.when(row % 4 > 0).then(pl.lit("a|b")),
        loads=pl.when(row % 4 > 0).then(pl.when(row < 320).then(pl.lit("0.5|1.5")).otherwise(pl.lit("2|4"))),
    )


@pytest.fixture
def data(tmp_path: Path) -> Prepared:
    raw = write_shop(tmp_path / "raw", interactions=log(), schema=SCHEMA.replace("tasks:", f"{WEIGHTED}tasks:"))
    write_prepared(read_tables(raw), tmp_path / "out")
    return Prepared.open(tmp_path / "out")


def test_new_and_missing_are_exact(data: Prepared) -> None:
    found = describe(data)
    device = field(found, "device")
    assert device.new_is == "exact"
    assert device.splits["test"].missing == 8 / 80
    assert device.splits["test"].new == device.splits["test"].unseen == 32 / 72
    assert new_share(device, device.splits["test"]) == "44.4 %"
    assert (device.splits["train"].missing, device.splits["train"].unseen) == (28 / 280, 0)
    assert device.absent is not None
    assert device.absent.text == "missing"
    assert field(found, "price").splits["train"].missing == pytest.approx(24 / 280)
    assert any("device: values that training never met" in remark.text for remark in found.warnings)


def test_too_rare_is_not_missing(tmp_path: Path) -> None:
    schema = SCHEMA.replace("name: user_id,", "name: user_id, min_count: 20,")
    write_prepared(read_tables(write_shop(tmp_path / "raw", schema=schema)), tmp_path / "out")
    user = field(describe(Prepared.open(tmp_path / "out")), "user_id")
    assert user.absent is not None
    assert user.absent.text == "too rare for an id"
    assert user.splits["train"].unseen == user.absent.share


def test_ids_of_an_extended_dictionary_are_new_where_training_has_none(data: Prepared, tmp_path: Path) -> None:
    device = pl.Series(["d0"] * 320 + ["d0", "d2"] * 40)
    raw = write_shop(
        tmp_path / "more",
        interactions=log().with_columns(device=device),
        schema=(tmp_path / "raw" / "schema.yaml").read_text(),
    )
    write_prepared(read_tables(raw), tmp_path / "again", Options(earlier=data))
    found = field(describe(Prepared.open(tmp_path / "again")), "device")
    assert found.new_is == "exact"
    assert (found.splits["test"].unseen, found.splits["test"].new) == (0, 0.5)


def test_weights_are_summed_up(data: Prepared) -> None:
    found = describe(data)
    likes = field(found, "likes").splits
    assert (likes["train"].listed, likes["train"].weight) == (0.75, 1.0)
    assert (likes["test"].listed, likes["test"].weight) == (0.75, 3.0)
    assert field(found, "tags").splits["train"].weight is None
    assert "mean weight" in page(found)
