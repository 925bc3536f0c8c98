"""Ali-CCP's files: every planted trap, cell by cell."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tests.training.datasets.aliccp.files import (
    ALICE,
    BOB,
    COMMON_TRAIN,
    GONE,
    PLAIN,
    TEST,
    TRAIN,
    chunks,
    common,
    frame,
    impression,
    partitions,
    read,
    values,
    write,
)
from training.datasets.aliccp import files
from training.datasets.aliccp import source as aliccp

PLAIN_VALUES = {"item_id": 3_964_447, "category": 8_313_062, "shop": 8_322_056, "scenario": 9_351_665}


def test_impressions_are_what_the_lines_say(tmp_path: Path) -> None:
    rows = frame(read(write(tmp_path)).interactions).rows(named=True)
    assert [row["common_feature_index"] for row in rows] == [ALICE, BOB, GONE, BOB, BOB, ALICE]
    assert [(row["click"], row["conversion"]) for row in rows] == [(1, 0), (1, 1), (0, 0), (0, 0), (0, 0), (1, 0)]
    assert values(rows[0]) == PLAIN_VALUES | {"intention": [9_017_179, 9_017_181, 9_017_180], "brand": 9_116_785}
    assert values(rows[1]) == PLAIN_VALUES | {
        "intention_in_history": [10_000_021, 10_000_020, 10_000_022],  # by value, then as they came
        "intention_in_history:weights": [1.5, 0.5, 0.5],
        "category_in_history": [9_351_668],
        "category_in_history:weights": [2.3979],
    }
    assert values(rows[2]) == {}
    assert values(rows[3]) == {
        "item_id": 8_313_061,
        "shop": 8_322_057,
        "shop_in_history": [9_832_206],
        "shop_in_history:weights": [0.69315],
    }
    assert values(rows[4]) == PLAIN_VALUES | {
        "brand_in_history": [9_832_207],
        "brand_in_history:weights": [1.09861],
    }
    assert values(rows[5]) == {"item_id": 3_964_448, "category": 9_999_999, "scenario": 9_351_667}


def test_a_conversion_without_a_click_is_left_out_and_counted(tmp_path: Path) -> None:
    train, test = chunks(read(write(tmp_path)).interactions)
    assert train.notes == {aliccp.IMPOSSIBLE: 1}
    assert train.rows.tolist() == [1, 3, 4, 5]
    assert train.lines is not None
    assert train.lines.tolist() == [1, 3, 4, 5]
    assert test.notes == {"ids of field 206 out of its range, kept": 1, "second values of field 206, left out": 1}
    assert not train.rejected
    assert not test.rejected


def test_users_are_the_first_row_of_each_index(tmp_path: Path) -> None:
    raw = read(write(tmp_path))
    rows = frame(raw.users).rows(named=True)
    assert [row["common_feature_index"] for row in rows] == [ALICE, BOB, "0a"]
    assert values(rows[0]) == {
        "user_id": 31,
        "profile": 3_438_658,
        "gender": 3_438_769,
        "consumption_2": 3_438_780,
        "category_history": [444_862, 444_863, 444_864],
        "category_history:weights": [2.5, 0.5, 0.5],
    }
    assert values(rows[1]) == {
        "user_id": 32,
        "shop_history": [457_385],
        "shop_history:weights": [1.0],
        "brand_history": [3_438_784],
        "brand_history:weights": [0.69315],
        "intention_history": [3_864_891],
        "intention_history:weights": [1.79176],
    }
    assert values(rows[2]) == {"geography": 3_864_890}
    assert [chunk.notes for chunk in chunks(raw.users)] == [{}, {aliccp.AGAIN: 1, aliccp.CHANGED: 1}]


def test_an_index_twice_in_one_file_is_one_user(tmp_path: Path) -> None:
    lines = [*COMMON_TRAIN, COMMON_TRAIN[0], common(BOB, "101:33")]
    raw = read(write(tmp_path, common_features_train=lines, common_features_test=[common("0a", "")]))
    chunk, _ = chunks(raw.users)
    assert chunk.frame["user_id"].to_list() == [31, 32]
    assert chunk.rows.tolist() == [1, 2]
    assert chunk.notes == {aliccp.AGAIN: 1, aliccp.CHANGED: 1}


def test_the_highest_values_of_a_history_are_kept_and_never_the_last_alone(tmp_path: Path) -> None:
    history = " ".join(f"110_14:{457_385 + i}={i * 7 % 30 / 10}" for i in range(30))
    raw = read(write(tmp_path, common_features_train=[common(ALICE, f"101:1 {history}")]), history=4)
    (row, *_) = frame(raw.users).rows(named=True)
    assert row["shop_history:weights"] == pytest.approx([2.9, 2.8, 2.7, 2.6])
    assert row["shop_history"] == [457_385 + i for v in (29, 28, 27, 26) for i in range(30) if i * 7 % 30 == v]
    assert raw.schema.by_name["shop_history"].max_length == 4


def test_lines_that_do_not_fit_are_told_with_their_number(tmp_path: Path) -> None:
    bad = {
        "9,0,0\n": "3 cells, not 6",
        impression(9, PLAIN, "2,0"): "click is '2'; a label is 0 or 1",
        impression(9, PLAIN, "0,"): "conversion is ''; a label is 0 or 1",
        impression(9, PLAIN, index=""): "no common_feature_index",
        impression(9, PLAIN, count=5): "feature_num is '5'; the list has 4",
        impression(9, PLAIN).replace(",4,", ",four,"): "feature_num is 'four'; the list has 4",
        impression(9, "205:x"): r"feature '205\x02x\x031.0' is not field\x02id\x03value",
        impression(9, "205:3=1.0=2.0"): r"is not field\x02id\x03value",
        impression(9, "205:3=nan"): r"is not field\x02id\x03value",
        impression(9, "205:3=1e39"): r"is not field\x02id\x03value",
        impression(9, "205:99999999999"): r"is not field\x02id\x03value",
        impression(9, "101:3"): "this file has no field '101'",
        impression(9, "205").replace("\x03", ""): r"feature '2051.0' is not field\x02id\x03value",
        impression(9, PLAIN).replace("\n", "\x01\n"): r"feature '' is not field\x02id\x03value",
        impression(9, PLAIN).replace("\n", ",7\n"): r"is not field\x02id\x03value",
        "\n": "1 cells, not 6",
    }
    lines = [line for text in bad for line in (impression(1, PLAIN), text)]
    raw = read(write(tmp_path, sample_skeleton_train=lines, sample_skeleton_test=TEST))
    chunk, _ = chunks(raw.interactions)
    assert chunk.rows.tolist() == [2 * i + 1 for i in range(len(bad))]
    assert [values(row) for row in chunk.frame.rows(named=True)] == [PLAIN_VALUES] * len(bad)
    for place, (told, (line, why)) in enumerate(zip(chunk.rejected, bad.items(), strict=True)):
        assert (told.row, told.line) == (2 * place + 2, 2 * place + 2)
        assert told.where == str(tmp_path / "sample_skeleton_train.csv")
        assert why in told.why
        assert told.content == line.removesuffix("\n")


def test_a_bad_common_row_is_told_and_leaves_the_others(tmp_path: Path) -> None:
    lines = [COMMON_TRAIN[0], "cut off,3,101\x021\n", COMMON_TRAIN[1], "x,1,205\x023964447\x031.0\n"]
    raw = read(write(tmp_path, common_features_train=lines, common_features_test=[common("0a", "")]))
    chunk, _ = chunks(raw.users)
    assert chunk.frame["common_feature_index"].to_list() == [ALICE, BOB]
    assert [(told.line, told.why) for told in chunk.rejected] == [
        (2, r"feature '101\x021' is not field\x02id\x03value"),
        (4, r"feature '205\x023964447\x031.0': this file has no field '205'"),
    ]


def test_blocks_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [impression(i, f"205:{3_964_447 + i}") if i % 9 else "bad\n" for i in range(200)]
    raw = read(write(tmp_path, sample_skeleton_train=lines))
    whole = list(chunks(raw.interactions))
    monkeypatch.setattr(files, "BLOCK", 100)
    monkeypatch.setattr(aliccp, "CHUNK", 7)
    parts = list(chunks(raw.interactions))
    assert len(parts) > 20
    assert max(len(chunk.frame) for chunk in parts) <= 7
    assert pl.concat([c.frame for c in parts]).equals(pl.concat([c.frame for c in whole]))
    assert [row for c in parts for row in c.rows] == [row for c in whole for row in c.rows]
    assert [bad for c in parts for bad in c.rejected] == [bad for c in whole for bad in c.rejected]
    assert sum((Counter(c.notes) for c in parts), Counter()) == sum((Counter(c.notes) for c in whole), Counter())
    users = list(chunks(raw.users))
    monkeypatch.setattr(aliccp, "CHUNK_BYTES", 1)
    assert len(list(chunks(raw.users))) >= len(users)
    assert frame(raw.users).equals(pl.concat([chunk.frame for chunk in users]))


def test_a_share_of_the_training_rows_validates_whatever_was_left_out_before(tmp_path: Path) -> None:
    lines = [impression(i, PLAIN) for i in range(5_000)]
    rows = frame(read(write(tmp_path, sample_skeleton_train=lines)).interactions)
    assert rows["split"].value_counts().sort("split")["split"].to_list() == ["test", "train", "validation"]
    assert 430 < (rows["split"] == "validation").sum() < 570
    changed = [impression(i, PLAIN, "0,1" if i < 9 else "0,0") for i in range(5_000)]
    again = frame(read(write(tmp_path, sample_skeleton_train=changed)).interactions)
    assert again["split"].to_list() == rows["split"].to_list()[9:]
    more = frame(read(tmp_path, validation=0.5).interactions)
    assert 2_300 < (more["split"] == "validation").sum() < 2_700


def test_lines_may_end_as_on_windows_and_the_last_need_not_end(tmp_path: Path) -> None:
    plain = frame(read(write(tmp_path / "plain")).interactions)
    other = write(
        tmp_path / "other",
        sample_skeleton_train=[line.replace("\n", "\r\n") for line in TRAIN],
        sample_skeleton_test=[*TEST[:-1], TEST[-1].removesuffix("\n")],
    )
    assert frame(read(other).interactions).equals(plain)


def test_the_identity_of_a_partition_follows_its_file_and_options(tmp_path: Path) -> None:
    known = [part.identity for part in partitions(read(write(tmp_path)).interactions)]
    assert [part.identity for part in partitions(read(tmp_path).interactions)] == known
    assert len({*known, *(part.identity for part in partitions(read(tmp_path, validation=0.2).interactions))}) == 4
    with (tmp_path / "sample_skeleton_train.csv").open("a") as file:
        file.write(TRAIN[0])
    assert [part.identity for part in partitions(read(tmp_path).interactions)] != known
    (users,), (others,) = (partitions(read(tmp_path, history=n).users) for n in (5, 6))
    assert users.identity != others.identity


def test_every_field_of_the_files_is_an_input_once(tmp_path: Path) -> None:
    raw = read(write(tmp_path))
    sources = {column for field in raw.schema.fields for column in field.columns}
    held = {*frame(raw.interactions).columns, *frame(raw.users).columns}
    assert held - sources == {"common_feature_index", "click", "conversion", "split"}
    assert sources < held
    assert set(raw.interactions.names) == set(frame(raw.interactions).columns)
    assert raw.users is not None
    assert set(raw.users.names) == set(frame(raw.users).columns)
