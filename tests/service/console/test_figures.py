"""service/console/figures.py."""

from datetime import UTC, datetime

import pytest

from service.console import figures

THIN = "\u202f"


@pytest.mark.parametrize(
    ("function", "given", "shown"),
    [
        (figures.count, 12345, "12,345"),
        (figures.count, None, "–"),
        (figures.rate, 0.0312, f"3.12{THIN}%"),
        (figures.rate, 0.00264, f"0.264{THIN}%"),
        (figures.rate, 0.5017, f"50.2{THIN}%"),
        (figures.rate, 0.0, f"0.00{THIN}%"),
        (figures.rate, None, "–"),
        (figures.share, 0.5, f"50{THIN}%"),
        (figures.share, 0.0525, f"5.25{THIN}%"),
        (figures.lift, 0.04, f"+4.00{THIN}%"),
        (figures.lift, -0.128, f"−12.8{THIN}%"),
        (figures.lift, 12.5, f"+1,250{THIN}%"),
        (figures.lift, 0.0, f"±0.00{THIN}%"),
        (figures.plain, 0.8123, "0.812"),
        (figures.plain, 48211.4, "48,211"),
        (figures.small, 0.000123456, "0.000123"),
        (figures.probability, 0.00002, "< 0.0001"),
        (figures.probability, 0.0012, "= 0.0012"),
        (figures.probability, 0.41, "= 0.41"),
        (figures.probability, None, "not known"),
        (figures.milliseconds, 18.4, f"18.4{THIN}ms"),
        (figures.age, 3.2, f"3{THIN}s ago"),
        (figures.age, 7200.0, f"2.0{THIN}h ago"),
        (figures.duration, 864_000.0, f"10{THIN}days"),
        (figures.duration, 90.0, f"1.5{THIN}min"),
        (figures.age, -1.0, f"0{THIN}s ago"),
    ],
)
def test_numbers_are_written_for_people(function: object, given: object, shown: str) -> None:
    assert callable(function)
    assert function(given) == shown


def test_times_are_utc_whatever_they_were_written_in() -> None:
    assert figures.clock(figures.moment("2026-11-22T23:30:00+02:00")) == "2026-11-22 21:30 UTC"
    assert figures.moment(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert figures.moment("2026-11-22T10:00:00") == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert figures.moment("soon") is None
    assert figures.clock(None) == "–"
