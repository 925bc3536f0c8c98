"""Data sets extended: ids keep their meaning, users are taken over, and what does not fit is refused."""

from pathlib import Path

import polars as pl
import pytest

from contract.errors import TwinscoreError
from contract.schema import Side
from tests.training.datasets.preparation.logs import contents, cut_chunks, digests, prepared
from tests.training.datasets.shop import SCHEMA, interactions, users, write_shop
from training.__main__ import main
from training.datasets.pipeline import Options
from training.datasets.prepared import KEY, Prepared

QUANTILES = SCHEMA.replace(
    "  - {name: device",
    "  - {name: bucket, side: item, column: price, encoding: quantile, buckets: 4}\n  - {name: device",
)
DAY = 86_400


def day(number: int) -> pl.DataFrame:
    """The log of a later day: users, items and devices that are new on it, beside those of before."""
    shift = pl.int_range(400) % 3 == 0
    new = pl.when(shift).then(pl.lit(f"-{number}")).otherwise(pl.lit(""))
    return interactions().with_columns(
        pl.col("user_id") + new,
        pl.col("device") + new,
        pl.col("timestamp") + number * DAY,
        pl.col("city") + f"-{number}",
    )


@pytest.fixture
def first(tmp_path: Path) -> Prepared:
    return prepared(write_shop(tmp_path / "raw", schema=QUANTILES), tmp_path / "first")


def later(tmp_path: Path, number: int, **changes: pl.DataFrame | str | None) -> Path:
    """Raw files of a day, without users and items."""
    given = {"interactions": day(number), "users": None, "items": None, "schema": QUANTILES} | changes
    return write_shop(tmp_path / f"day-{number}", **given)


def extended(tmp_path: Path, number: int, earlier: Prepared, **changes: pl.DataFrame | str | None) -> Prepared:
    return prepared(later(tmp_path, number, **changes), tmp_path / f"out-{number}", Options(earlier=earlier))


def test_ids_never_change_their_meaning(tmp_path: Path, first: Prepared) -> None:
    second = extended(tmp_path, 1, first)
    third = extended(tmp_path, 2, second)
    for name, known in first.dictionaries.items():
        for data in (second, third):
            assert data.dictionaries[name].decode(range(1, known.size)) == known.decode(range(1, known.size))
    assert third.dictionaries["device"].encode(["d0-1", "d0-2"]).min() > first.dictionaries["device"].size - 1
    assert third.dictionaries["device"].encode(["d0-2"])[0] > second.dictionaries["device"].size - 1
    keys = [data.table(Side.USER).collect()[KEY].to_list() for data in (first, second, third)]
    assert keys[1][: len(keys[0])] == keys[0]
    assert keys[2][: len(keys[1])] == keys[1]


def test_the_old_models_rows_and_graph_still_fit(tmp_path: Path, first: Prepared) -> None:
    second = extended(tmp_path, 1, first)
    assert second.schema.fingerprint() == first.schema.fingerprint()
    for field in first.schema.fields:
        now = second.schema.by_name[field.name]
        assert (now.mean, now.scale, now.edges, now.lineage) == (field.mean, field.scale, field.edges, field.lineage)
        assert now.size >= field.size
    train = second.matrices("train")
    assert train.request_ids.max() < max(field.size for field in second.schema.fields)


def test_who_is_not_mentioned_stays_as_before(tmp_path: Path, first: Prepared) -> None:
    frame = day(1).filter(~pl.col("user_id").is_in(["u0", "u3"]))
    second = extended(tmp_path, 1, first, interactions=frame)
    before, now = first.table(Side.USER).collect(), second.table(Side.USER).collect()
    kept = now[: len(before)]
    assert kept.drop("user_id", "city").equals(before.drop("user_id", "city"))
    known = (before["user_id"] > 0).to_numpy()
    assert kept["user_id"].to_numpy()[known].tolist() == before["user_id"].to_numpy()[known].tolist()
    same = ~before[KEY].is_in(frame["user_id"])
    assert same.sum() > 2
    assert kept["city"].filter(same).equals(before["city"].filter(same))
    assert not kept["city"].filter(~same).equals(before["city"].filter(~same))  # their latest value is a new one
    assert second.table(Side.ITEM).collect().equals(first.table(Side.ITEM).collect())


def test_changed_users_are_replaced(tmp_path: Path, first: Prepared) -> None:
    changed = pl.DataFrame({"user_id": ["u1", "u77"], "age": [99, 55], "tags": ["t0|new", None]})
    second = extended(tmp_path, 1, first, users=changed)
    before, now = first.table(Side.USER).collect(), second.table(Side.USER).collect()
    row = now.row(by_predicate=pl.col(KEY) == "u1", named=True)
    assert row["age"] == 99
    assert second.dictionaries["tags"].decode(row["tags"][:2]) == ["t0", "new"]
    assert now.row(by_predicate=pl.col(KEY) == "u77", named=True)["age"] == 55
    other = before[KEY] != "u1"
    assert now[: len(before)].filter(other)["age", "tags"].equals(before.filter(other)["age", "tags"])


def test_new_values_are_counted_as_ever(tmp_path: Path) -> None:
    schema = QUANTILES.replace("{name: device,", "{name: device, min_count: 20,")
    first = prepared(write_shop(tmp_path / "raw", schema=schema), tmp_path / "first")
    frame = interactions().with_columns(device=pl.Series(["rare"] * 19 + ["often"] * 20 + ["d0"] * 361))
    second = extended(tmp_path, 1, first, schema=schema, interactions=frame)
    assert second.dictionaries["device"].encode(["rare"]).tolist() == [0]
    assert second.dictionaries["device"].encode(["often"]).tolist() == [first.schema.by_name["device"].size]


def test_cut_into_chunks_or_not(tmp_path: Path, first: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contents(extended(tmp_path, 1, first))
    cut_chunks(monkeypatch, 60, ("files.raw_file", "preparation.keys", "preparation.storing", "preparation.encoding"))
    pieces = prepared(tmp_path / "day-1", tmp_path / "pieces", Options(earlier=first))
    assert len(list(pieces.path.glob("interactions/*/*"))) == 7 + 2  # two chunks are of two splits
    assert contents(pieces) == whole


def test_in_place(tmp_path: Path, first: Prepared, capsys: pytest.CaptureFixture[str]) -> None:
    expected = digests(extended(tmp_path, 1, first).path)
    raw, out = str(tmp_path / "day-1"), str(first.path)
    capsys.readouterr()
    assert main(["prepare", "table", "--raw", raw, "--extend", out, "--out", out]) == 0
    assert digests(first.path) == expected
    told = capsys.readouterr().out
    assert "device: 3 new values, 3 before" in told
    assert "new users, 0 new items" in told


def test_the_same_day_again_adds_nothing(tmp_path: Path, first: Prepared) -> None:
    again = prepared(tmp_path / "raw", tmp_path / "again", Options(earlier=first))
    ours, theirs = contents(again), contents(first)
    del ours["prepared.json"], theirs["prepared.json"]  # what was counted of users that are taken over is not known
    assert ours == theirs
    assert again.description.rows == first.description.rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schema": QUANTILES.replace("  - {name: device, side: context}\n", "")},
            "field 'device': .*first has it and",
        ),
        ({"schema": QUANTILES.replace("max_length: 3", "max_length: 4")}, "field 'tags': its options differ"),
        ({"schema": QUANTILES.replace("buckets: 4", "buckets: 5")}, "field 'bucket': its options differ"),
        ({"schema": QUANTILES.replace("default: 5", "default: 6")}, "field 'price': its options differ"),
        (
            {"schema": QUANTILES.replace("  - {name: age", "  - {name: sex, side: user, column: age}\n  - {name: age")},
            "field 'sex': the new schema has it and .*first has not",
        ),
        (
            {"users": users().with_columns(city=pl.lit("c1"))},
            "field 'city': is stored here, and not so in .*first; give it in the same table",
        ),
        ({"interactions": day(1).with_columns(age=pl.lit(3))}, "field 'age': comes with the interactions here"),
        ({"interactions": day(1).drop("device")}, "no column 'device'"),
        ({"schema": QUANTILES.replace("user_key: user_id\n", "")}, "user_key: .*first has one and"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, first: Prepared, changes: dict[str, pl.DataFrame | str], message: str
) -> None:
    with pytest.raises(TwinscoreError, match=message) as caught:
        extended(tmp_path, 1, first, **changes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out-1").exists()


def test_other_tasks_and_splits_are_no_matter_of_ids(tmp_path: Path, first: Prepared) -> None:
    schema = QUANTILES.replace("by: time", "by: random").replace("  - {name: cvr, label: conversion, space: ctr}\n", "")
    second = extended(tmp_path, 1, first, schema=schema)
    assert second.schema.fingerprint() == first.schema.fingerprint()


@pytest.mark.parametrize(
    "damage", ["nothing", "prepared.json", "schema.json", "dictionaries/device.npz", "users", "interactions"]
)
def test_a_damaged_data_set_is_named(tmp_path: Path, first: Prepared, damage: str) -> None:
    path = tmp_path / "nowhere" if damage == "nothing" else first.path / damage
    for file in [*path.rglob("*.parquet"), *([path] if path.is_file() else [])]:
        file.write_bytes(file.read_bytes()[:-9])
    raw, earlier = later(tmp_path, 1), tmp_path / "nowhere" if damage == "nothing" else first.path
    with pytest.raises(TwinscoreError) as caught:
        main(["prepare", "table", "--raw", str(raw), "--extend", str(earlier), "--out", str(tmp_path / "out")])
    assert str(earlier) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "gone",
    ["dictionaries/device.npz", "schema.json", "users/part-00000.parquet", "interactions/train/part-00000.parquet"],
)
def test_a_file_that_is_gone_is_named(tmp_path: Path, first: Prepared, gone: str) -> None:
    (first.path / gone).unlink()
    with pytest.raises(TwinscoreError) as caught:
        main(
            [
                "prepare",
                "table",
                "--raw",
                str(later(tmp_path, 1)),
                "--extend",
                str(first.path),
                "--out",
                str(tmp_path / "out"),
            ]
        )
    assert str(first.path) in str(caught.value)
    assert "\n" not in str(caught.value)
