"""When a run is not good enough."""

import pytest

from loadtest.thresholds import Summary, Thresholds

RUN = Summary(seconds=10, requests=2_000, failures=30, candidates=400_000, p50=4.2, p95=9, p99=12.5, slowest=1_800)


@pytest.mark.parametrize(
    ("thresholds", "named"),
    [
        (Thresholds(p99=None, errors=None), []),
        (Thresholds(p99=12.5, errors=0.015), []),
        (Thresholds(p99=12.4, errors=0.02), ["--p99 12.4"]),
        (Thresholds(p99=10, errors=0.01), ["--p99 10", "--errors 0.01"]),
    ],
)
def test_what_is_past_a_threshold_is_named(thresholds: Thresholds, named: list[str]) -> None:
    lines = thresholds.broken(RUN)
    assert len(lines) == len(named)
    assert all(name in line for name, line in zip(named, lines, strict=True))


def test_run_without_requests_is_an_error() -> None:
    nothing = Summary(seconds=0, requests=0, failures=0, candidates=0, p50=0, p95=0, p99=0, slowest=0)
    assert Thresholds(p99=None, errors=0.01).broken(nothing)
    assert "100.00%" in nothing.table()


def test_table_shows_rates() -> None:
    names, figures = RUN.table().splitlines()
    assert len(names) == len(figures)
    assert {"200.0", "40,000", "4.2", "12.5", "1,800", "(1.50%)"} <= set(figures.split())
