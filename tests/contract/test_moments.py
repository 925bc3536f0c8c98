"""Times in every form that is taken, and the hours and weekdays of places."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from contract.moments import epoch_seconds, hours, weekdays, zone

NOON = 1_769_860_800  # 2026-01-31T12:00:00Z, a Saturday


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON + 0.9,
        NOON * 1_000,
        NOON * 1_000_000,
        str(NOON),
        f" {NOON * 1_000}.5 ",
        "+1.7698608e9",
        "2026-01-31T12:00Z",
        "2026-01-31 12:00:00",
        "2026-01-31T12:00:00.123456789 Z",
        "2026-01-31T13:30+01:30",
        "2026-01-31T10:30:00-0130",
        "2026-01-31T17:00+05",
    ],
)
def test_forms_of_one_moment(value: object) -> None:
    assert epoch_seconds(value) == NOON


def test_days_and_times_before_1970() -> None:
    assert epoch_seconds("2026-01-31") == NOON - 12 * 3600
    assert epoch_seconds(-0.5) == epoch_seconds("1969-12-31T23:59:59.5") == -1
    assert epoch_seconds(-1_000_000_000_000) == -1_000_000_000  # milliseconds


@pytest.mark.parametrize(
    "value",
    [None, True, "", "noon", "now", "01/02/2026", "2026-02-30", "2026-01-31T25:00", "2026-01-31T12", [1], 1e19, "nan",
     float("nan"), 10**17 * 9, "2026-01-31T12:00Z\n2026"],
)  # fmt: skip
def test_what_is_no_time(value: object) -> None:
    assert epoch_seconds(value) is None


@pytest.mark.parametrize("name", ["UTC", "Europe/Rome", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_hours_and_weekdays_are_those_of_the_place(name: str) -> None:
    """Through a whole year, with its changes of the clock to the second."""
    seconds = np.concatenate([np.arange(NOON, NOON + 366 * 86_400, 1_741), NOON + np.arange(-9, 9)])
    there = [datetime.fromtimestamp(int(second), ZoneInfo(name)) for second in seconds]
    assert hours(seconds, name).tolist() == [moment.hour for moment in there]
    assert weekdays(seconds, name).tolist() == [moment.weekday() for moment in there]


def test_the_first_and_the_last_year_have_hours_too() -> None:
    ends = [epoch_seconds("0001-01-01"), epoch_seconds("9999-12-31T23:59:59-05")]
    found = np.array([end for end in ends if end is not None], np.int64)
    assert hours(found, "Asia/Tokyo")[1] == (4 + 9) % 24
    assert weekdays(found, "America/New_York").tolist() == [6, 4]


def test_utc_is_the_default() -> None:
    some = np.array([NOON, 0, -1], np.int64)
    assert hours(some, None).tolist() == [12, 0, 23]
    assert weekdays(some, None).tolist() == [5, 3, 2]
    assert datetime.fromtimestamp(NOON, UTC).weekday() == 5


def test_an_unknown_zone() -> None:
    assert zone("Europe/Rome") is not None
    assert zone("Mars/Base") is zone("../passwd") is zone("") is None
