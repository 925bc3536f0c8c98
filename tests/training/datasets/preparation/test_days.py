"""Impressions by day: what is a date, and what is counted of it."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.schema import Task
from tests.training.datasets.shop import SCHEMA, interactions, write_shop
from training.datasets.pipeline import write_prepared
from training.datasets.preparation.days import all_days, count_days, days_of
from training.datasets.prepared import Answered, Day, Days
from training.datasets.raw import RawColumn
from training.datasets.table import read_tables

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
DAY = 20_484  # of 2026-01-31, after 1970


@pytest.mark.parametrize(
    "times",
    [
        ["2026-01-31T12:00:00Z", "2026-01-31T23:59:59.9"],
        ["2026-01-31", "2026-02-01T01:00:00+02:00"],
        [str(int(NOON)), "1769817600.5"],
        [NOON, NOON + 1],
        [int(NOON * 1e3), int(NOON * 1e3)],
        [int(NOON * 1e6), int(NOON * 1e6)],
    ],
)
def test_what_is_a_date(times: list[str] | list[float]) -> None:
    found = days_of(RawColumn("time", pl.Series(times)).moments())
    assert found is not None
    assert found.tolist() == [DAY, DAY]


@pytest.mark.parametrize(
    "times", [[0, 1, 2], [NOON, 3], [20260131, 20260201], [int(NOON * 1e9)] * 2, [-NOON, NOON], ["1969-12-31"] * 2]
)
def test_what_is_none(times: list[float]) -> None:
    assert days_of(RawColumn("time", pl.Series(times, strict=False)).moments()) is None


def test_the_curve_of_a_log(tmp_path: Path) -> None:
    frame = interactions().with_columns(timestamp=1_767_225_600 + pl.int_range(400) * 1_800)  # 48 rows a day
    frame = frame.with_columns(pl.when(pl.int_range(400) != 11).then("conversion").alias("conversion"))
    found = write_prepared(read_tables(write_shop(tmp_path / "raw", interactions=frame)), tmp_path / "out").days
    assert [len(days) for days in found.values()] == [6, 2, 3]
    assert sum(day.rows for days in found.values() for day in days.values()) == 400
    assert next(iter(found["train"])) == "2026-01-01"
    for number, day in enumerate(found["train"].values()):
        rows = frame[48 * number : min(48 * number + 48, 280)]
        clicked = rows.filter(pl.col("click") == 1)["conversion"].drop_nulls()
        assert day.rows == len(rows)
        assert day.tasks["ctr"] == Answered(rows=len(rows), total=rows["click"].sum())
        assert day.tasks["cvr"] == Answered(rows=len(clicked), total=clicked.sum())


def test_no_curve_where_times_are_no_dates(tmp_path: Path) -> None:
    frame = interactions().with_columns(timestamp=pl.int_range(400))
    assert write_prepared(read_tables(write_shop(tmp_path / "a", interactions=frame)), tmp_path / "b").days == {}
    schema = SCHEMA.replace("time: timestamp\n", "").replace("by: time", "by: random")
    assert write_prepared(read_tables(write_shop(tmp_path / "c", schema=schema)), tmp_path / "d").days == {}


def test_numbers_are_summed() -> None:
    task = Task(name="value", label="v", kind="continuous")
    known = pl.DataFrame({"label:value": pl.Series([0.1, None, 2.5, 0.25], dtype=pl.Float32).fill_null(float("nan"))})
    one = count_days(np.array([DAY, DAY, DAY + 1, DAY]), np.array([0, 0, 0, 2]), [task], known)
    both = all_days([one, one])
    assert both["train"] == {
        "2026-01-31": Day(rows=4, tasks={"value": Answered(rows=2, total=round(2 * float(np.float32(0.1)), 9))}),
        "2026-02-01": Day(rows=2, tasks={"value": Answered(rows=2, total=5)}),
    }
    assert both["validation"] == {}
    assert both["test"]["2026-01-31"].rows == 2
    assert all_days([one, None]) == {}


def test_days_come_in_order() -> None:
    day = Day(rows=1, tasks={})
    late: Days = {"train": {"2026-02-01": day}, "validation": {}, "test": {}}
    early: Days = {"train": {"2026-01-31": day}, "validation": {}, "test": {}}
    assert list(all_days([late, early])["train"]) == ["2026-01-31", "2026-02-01"]
