"""The curve over time: days of a prepared log, spans where there are many, what is drawn."""

from datetime import date, timedelta

import polars as pl
import pytest
from rich.console import Console

from tests.training.datasets.shop import SCHEMA, interactions, write_shop
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import Prepared
from training.datasets.table import read_tables
from training.describe.command import describe
from training.describe.days import STEPS, curve, spans, totals
from training.describe.findings import DayFound, Findings, LabelFound, Share, TaskFound
from training.describe.page import page
from training.describe.text import print_findings

FOUR_HOURS = 14_400


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = tmp_path_factory.mktemp("shop")
    frame = interactions().with_columns(
        timestamp=1_767_225_600 + pl.int_range(400) * FOUR_HOURS, spent=pl.int_range(400) * 0.5
    )
    schema = SCHEMA.replace("split:", "  - {name: value, label: spent, kind: continuous}\nsplit:")
    write_prepared(read_tables(write_shop(folder / "raw", interactions=frame, schema=schema)), folder / "out")
    return describe(Prepared.open(folder / "out"))


def test_rates_and_means_by_day(shop: Findings) -> None:
    ctr, _, value = shop.tasks
    clicks, spent = interactions()["click"], pl.Series([0.5 * i for i in range(400)])
    assert [day.counted for day in ctr.days[:3]] == [6, 6, 6]
    assert ctr.days[1].day == "2026-01-02"
    assert ctr.days[1].value == pytest.approx(clicks[6:12].mean())
    assert ctr.days[1].low < ctr.days[1].value < ctr.days[1].high  # type: ignore[operator]
    assert value.days[1].value == pytest.approx(spent[6:12].mean())
    sd = value.splits["train"].sd
    assert sd is not None
    assert value.days[1].high == pytest.approx(value.days[1].value + 1.96 * sd / 6**0.5, rel=1e-3)  # type: ignore[operator]
    assert sum(day.rows for day in ctr.days) == 400


def test_days_of_two_splits_are_one_in_the_text(shop: Findings) -> None:
    ctr = shop.tasks[0]
    assert len({day.day for day in ctr.days}) == len(totals(ctr)) == 67 < len(ctr.days)
    assert totals(ctr)[46][1] == pytest.approx(interactions()["click"][276:282].mean())  # the split is at row 280


def test_text_and_page_show_it(shop: Findings, capsys: pytest.CaptureFixture[str]) -> None:
    print_findings(Console(), shop)
    told = capsys.readouterr().out
    assert "value by day: first 1.25 (2026-01-01), last 198.8 (2026-03-08), lowest 1.25" in told
    shown = page(shop)
    assert 'aria-label="value by day, from 2026-01-01 to 2026-03-08"' in shown
    assert "2026-01-02, train: " in shown


def task(days: int) -> TaskFound:
    """A rate that rises."""
    found = tuple(
        DayFound(
            day=(date(2026, 1, 1) + timedelta(k)).isoformat(), split="train", rows=1000, counted=1000, total=k,
            value=k / 1000, low=0, high=1,
        )
        for k in range(days)
    )  # fmt: skip
    share = Share(rows=1, positives=1, rate=1, low=0, high=1)
    label = LabelFound(answers=share, unknown=0, mean=None, sd=None)
    splits = dict.fromkeys(("train", "validation", "test"), label)
    return TaskFound(name="t", kind="binary", space="all", threshold=0.5, splits=splits, days=found)


def test_many_days_are_drawn_as_spans() -> None:
    assert len(spans(task(STEPS))) == STEPS
    months = spans(task(700))
    assert len(months) == 88
    assert months[0].counted == 8000
    assert months[0].value == pytest.approx(28 / 8000)
    assert sum(span.total for span in months) == sum(range(700))
    assert months[1].day == "2026-01-09"


def test_the_curve_rises_from_left_to_right() -> None:
    drawn = curve(task(10))
    assert drawn is not None
    assert (drawn.first, drawn.last, drawn.lowest) == ("2026-01-01", "2026-01-10", 0)
    places = [(mark.x, mark.y) for mark in drawn.marks]
    assert [x for x, _ in places] == [5 + 10 * k for k in range(10)]
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    assert all(0 <= mark.top < mark.y < mark.bottom <= 100.0001 for mark in drawn.marks[1:])


def test_days_without_rows_leave_a_gap_and_thin_ones_are_not_drawn() -> None:
    whole = task(10)
    holed = [day for k, day in enumerate(whole.days) if k != 4]
    holed[7] = holed[7].model_copy(update={"counted": 3, "total": 1})
    drawn = curve(whole.model_copy(update={"days": tuple(holed)}))
    assert drawn is not None
    assert [mark.x for mark in drawn.marks] == [5, 15, 25, 35, 55, 65, 75, 95]


def test_one_day_is_no_curve(found: Findings) -> None:
    assert curve(task(1)) is None
    assert curve(found.tasks[0]) is None  # data without dates
