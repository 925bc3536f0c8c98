"""Counts of missing and unseen values against the raw tables of a shop."""

from pathlib import Path

import polars as pl
import pytest

from tests.training.datasets.shop import SCHEMA, interactions, items, users, write_shop
from training.datasets.pipeline import Options, write_prepared
from training.datasets.prepared import SPLITS, Description, Prepared, Seen, SplitName
from training.datasets.table import read_tables

PARTS: dict[SplitName, slice] = {"train": slice(0, 280), "validation": slice(280, 320), "test": slice(320, 400)}
FIELDS = """\
  - {name: bought, side: context, kind: multi, max_length: 3}
  - {name: paid, side: context, kind: numeric}
  - {name: fee, side: context, encoding: quantile, buckets: 4}
  - {name: zone, side: context, default: home}
"""


def log() -> pl.DataFrame:
    """Values that come up late, and missing ones of every kind."""
    row = pl.int_range(400, eager=True)
    frame = interactions().with_columns(
        bought=pl.when(row % 4 > 0).then(pl.format("b{}|late{}", row % 2, row // 300)),
        paid=pl.when(row % 5 > 0).then(row),
        fee=pl.when(row % 8 > 0).then(row * 0.5),
        zone=pl.when(row % 3 > 0).then(pl.lit("away")),
    )
    late = pl.when(row >= 330).then(pl.lit("d-new")).otherwise(pl.col("device"))
    return frame.with_columns(pl.when(row % 6 > 0).then(late).alias("device"))


def prepare(folder: Path, out: Path, earlier: Prepared | None = None) -> Description:
    return write_prepared(read_tables(folder), out, Options(earlier=earlier))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "raw", interactions=log(), schema=SCHEMA.replace("tasks:", f"{FIELDS}tasks:"))


def expected(values: pl.Series, known: pl.Series) -> dict[SplitName, Seen]:
    """Of one value a row; `known` are those of training."""
    found: dict[SplitName, Seen] = {}
    for split, part in PARTS.items():
        given = values[part].drop_nulls()
        unseen = int((~given.is_in(known.implode())).sum())
        found[split] = Seen(missing=len(values[part]) - len(given), values=len(given), unseen=unseen)
    return found


def test_moment_fields(raw: Path, tmp_path: Path) -> None:
    fields, frame = prepare(raw, tmp_path / "out").fields, log()
    for name in ("device", "city"):
        assert fields[name] == expected(frame[name], frame[name][PARTS["train"]].unique())
    assert fields["device"]["test"].unseen == 58
    for name in ("paid", "fee"):
        assert fields[name] == expected(frame[name], frame[name])
    assert fields["zone"] == expected(frame["zone"].fill_null("home"), frame["zone"].fill_null("home"))
    assert fields["position"]["train"] == Seen(missing=0, values=280, unseen=0)


def test_elements_of_multi_fields(raw: Path, tmp_path: Path) -> None:
    found = prepare(raw, tmp_path / "out").fields["bought"]
    assert found["train"] == Seen(missing=70, values=2 * 210, unseen=0)
    assert found["validation"] == Seen(missing=10, values=2 * 30, unseen=15)  # late1 from row 300 on
    assert found["test"] == Seen(missing=20, values=2 * 60, unseen=60)


def test_stored_fields_count_by_impression(raw: Path, tmp_path: Path) -> None:
    fields = prepare(raw, tmp_path / "out").fields
    joined = log().join(users(), on="user_id", how="left", maintain_order="left")
    joined = joined.join(items(), on="item_id", how="left", maintain_order="left")
    train = joined[PARTS["train"]]
    for name in ("user_id", "item_id"):
        assert fields[name] == expected(joined[name], train[name].unique())
    assert fields["age"] == expected(joined["age"], joined["age"])
    assert fields["age"]["test"].missing > 0
    assert fields["price"] == expected(joined["price"], joined["price"])  # where the default stood in, too
    assert fields["price"]["test"].missing > 0
    tags = joined["tags"].str.split("|").list.head(3)
    for split, part in PARTS.items():
        assert fields["tags"][split].missing == tags[part].null_count()
        assert fields["tags"][split].values == tags[part].list.len().sum()


def test_too_rare_values_are_unseen(tmp_path: Path) -> None:
    schema = SCHEMA.replace("name: user_id,", "name: user_id, min_count: 20,")
    found = prepare(write_shop(tmp_path / "raw", schema=schema), tmp_path / "out").fields["user_id"]
    counts = interactions()["user_id"][PARTS["train"]].value_counts()
    assert found["train"].unseen == counts.filter(pl.col("count") < 20)["count"].sum() > 0


def test_the_same_however_it_is_cut(raw: Path, tmp_path: Path) -> None:
    whole = prepare(raw, tmp_path / "whole")
    cut = raw.with_name("cut")
    cut.mkdir()
    for name in ("users.csv", "items.csv", "schema.yaml"):
        (cut / name).write_bytes((raw / name).read_bytes())
    (cut / "interactions").mkdir()
    for number, start in enumerate(range(0, 400, 90)):
        log()[start : start + 90].write_csv(cut / "interactions" / f"{number}.csv")
    parts = prepare(cut, tmp_path / "parts")
    assert len(list((tmp_path / "parts" / "interactions").rglob("*.parquet"))) > 3
    assert (parts.fields, parts.days) == (whole.fields, whole.days)
    assert whole.fields


def test_a_run_that_was_cut_off_counts_the_same(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(raw, tmp_path / "whole")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("training.datasets.pipeline.replace_folder", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(raw, tmp_path / "out")
    prepare(raw, tmp_path / "out")
    assert (tmp_path / "out" / "prepared.json").read_bytes() == (tmp_path / "whole" / "prepared.json").read_bytes()


def test_extended_rows_that_nobody_coded_anew_are_not_guessed(raw: Path, tmp_path: Path) -> None:
    prepare(raw, tmp_path / "old")
    (raw / "users.csv").unlink()
    fields = prepare(raw, tmp_path / "new", Prepared.open(tmp_path / "old")).fields
    assert {"user_id", "age", "tags"}.isdisjoint(fields)
    assert fields["device"]["test"] == Seen(missing=13, values=67, unseen=58)
    assert set(fields["price"]) == set(SPLITS)
