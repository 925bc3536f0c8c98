"""The same data set whatever files and chunks its tables come in."""

from pathlib import Path
from typing import cast

import polars as pl
import pytest

from contract.schema import Side
from tests.training.datasets.preparation.logs import (
    READERS,
    WRITERS,
    contents,
    cut_chunks,
    digests,
    prepared,
    write_files,
    write_shop_files,
)
from tests.training.datasets.shop import ROWS, interactions, schema_with, users, write_shop
from training.datasets.prepared import KEY

SPLITS: dict[str, dict[str, object]] = {
    "time": {"by": "time", "train": 0.7, "validation": 0.1},
    "random": {"by": "random", "seed": 3},
    "user": {"by": "user", "train": 0.6, "validation": 0.2},
    "column": {"by": "column", "column": "fold"},
}
SHUFFLED = interactions().with_columns(fold=pl.Series(["train", "train", "test", "validation"] * (ROWS // 4)))
SHUFFLED = SHUFFLED.sample(fraction=1.0, shuffle=True, seed=5)  # times are out of order within files and across them


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("rows", [60])
def test_files_and_chunks_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, rows: int
) -> None:
    schema = schema_with(split=SPLITS[split])
    one = prepared(write_shop(tmp_path / "one", interactions=SHUFFLED, schema=schema), tmp_path / "a")
    cut_chunks(monkeypatch, rows, (*READERS, *WRITERS))
    many = prepared(write_shop_files(tmp_path / "many", 5, SHUFFLED, schema=schema), tmp_path / "b")
    assert len(list(many.path.glob("users/*"))) == -(-one.description.users // rows)
    assert contents(many) == contents(one)


def test_chunks_that_are_only_read_leave_the_stored_tables_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = prepared(write_shop(tmp_path / "one", interactions=SHUFFLED), tmp_path / "a")
    cut_chunks(monkeypatch, 35)
    many = prepared(write_shop_files(tmp_path / "many", 5, SHUFFLED), tmp_path / "b")
    same = {name: digest for name, digest in digests(one.path).items() if "interactions/" not in name}
    assert same.items() <= digests(many.path).items()
    assert {"users/part-00000.parquet", "items/part-00000.parquet", "prepared.json", "schema.json"} <= set(same)


def test_the_latest_value_is_the_latest_of_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_chunks(monkeypatch, 50)
    shop = prepared(write_shop_files(tmp_path / "raw", 5, SHUFFLED), tmp_path / "out")
    stored = shop.table(Side.USER).collect()
    last = dict(SHUFFLED.sort("timestamp", maintain_order=True).select("user_id", "city").iter_rows())
    assert stored["city"].to_list() == shop.dictionaries["city"].encode([last.get(key) for key in stored[KEY]]).tolist()


def test_of_equal_times_the_last_row_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_chunks(monkeypatch, 50)
    cities = pl.Series([f"c{row % 17}" for row in range(ROWS)])
    frame = SHUFFLED.with_columns(timestamp=pl.lit(7), city=cities)
    schema = schema_with(split=SPLITS["random"])
    shop = prepared(write_shop_files(tmp_path / "raw", 5, frame, schema=schema), tmp_path / "out")
    stored, last = shop.table(Side.USER).collect(), dict(frame.select("user_id", "city").iter_rows())
    assert stored["city"].to_list() == shop.dictionaries["city"].encode([last.get(key) for key in stored[KEY]]).tolist()


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_other_kinds_of_files_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    cut_chunks(monkeypatch, 30)
    text = prepared(write_shop_files(tmp_path / "text", 4), tmp_path / "a")
    other = write_shop(tmp_path / "other", interactions=None, users=None)
    (other / "interactions").mkdir()
    for number in range(4):
        _write(interactions()[number * 100 : number * 100 + 100], other / "interactions" / f"{number}.{suffix}")
    _write(users(), other / f"users.{suffix}")
    assert contents(prepared(other, tmp_path / "b")) == contents(text)


def _write(frame: pl.DataFrame, file: Path) -> None:
    if file.suffix == ".parquet":
        frame.write_parquet(file, row_group_size=17)
    else:
        frame.write_ndjson(file)


def test_files_of_other_columns(tmp_path: Path) -> None:
    """Parquet files may lack what others have, and it is said."""
    whole = write_shop(tmp_path / "whole", interactions=None, users=None)
    blank = users().with_columns(age=pl.when(pl.int_range(31) < 20).then(pl.col("age")))
    interactions().write_parquet(whole / "interactions.parquet")
    blank.write_parquet(whole / "users.parquet")
    cut = write_shop(tmp_path / "cut", interactions=None, users=None)
    write_files(cut / "interactions", interactions(), 2)
    (cut / "users").mkdir()
    users()[:20].write_parquet(cut / "users" / "a.parquet")
    users()[20:].drop("age").write_parquet(cut / "users" / "b.parquet")
    found, expected = contents(prepared(cut, tmp_path / "b")), contents(prepared(whole, tmp_path / "a"))
    told = [cast(dict[str, object], each["prepared.json"]).pop("notes") for each in (found, expected)]
    assert told == [{"rows of files without column 'age'": 11}, {}]
    assert found == expected
