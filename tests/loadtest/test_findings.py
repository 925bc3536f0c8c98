"""What shapes are run to find out, on made-up timelines."""

import pytest

from loadtest.findings import climb, growth, recovery
from loadtest.shapes import Step
from loadtest.thresholds import Summary
from loadtest.timeline import Timeline

CHANGES = [(0.0, 4), (5.0, 16), (8.0, 4)]


def _timeline(seconds: int, slow: dict[int, float]) -> Timeline:
    """100 requests a second of 10 ms, of others in the seconds named."""
    timeline = Timeline()
    for second in range(seconds):
        for i in range(100):
            timeline.record(slow.get(second, 10.0), failed=False, candidates=1, at=second + i / 100)
    return timeline


def test_recovery_is_counted_from_the_end_of_the_burst() -> None:
    found = recovery(_timeline(20, {5: 80, 6: 80, 7: 80, 8: 90, 9: 40, 10: 15.1, 11: 15.0}), CHANGES, 20)
    assert found.figures == {"p99_before_ms": 10.0, "p99_burst_ms": 80.0, "recovery_seconds": 3}
    assert not found.broken


def test_one_calm_second_is_no_recovery() -> None:
    found = recovery(_timeline(14, {**dict.fromkeys(range(5, 14), 80.0), 9: 10.0}), CHANGES, 14)
    assert "not back within 1.5 x 10 ms in 6 s" in found.broken[0]


def test_silence_is_no_recovery() -> None:
    assert recovery(_timeline(8, {}), CHANGES, 14).broken


def test_run_that_ends_in_the_burst_finds_nothing() -> None:
    assert recovery(_timeline(7, {}), CHANGES[:2], 7).broken


@pytest.mark.parametrize(("leak", "broken"), [(0.0, False), (1e5, True)])
def test_growth_of_memory_is_found(leak: float, broken: bool) -> None:
    samples = [(t, 1e8 + max(0, t - 30) * leak * 4, 0.0) for t in range(120)]
    found = growth(_timeline(120, {}), [(float(t), rss, cpu) for t, rss, cpu in samples], 120)
    assert bool(found.broken) is broken
    assert not broken or "memory grew" in found.broken[0]


def test_caches_may_fill_in_the_first_quarter() -> None:
    samples = [(float(t), 1e8 * min(1, 0.5 + t / 60), 0.0) for t in range(120)]
    assert not growth(_timeline(120, dict.fromkeys(range(20), 90.0)), samples, 120).broken


def test_growth_of_p99_is_found() -> None:
    found = growth(_timeline(120, {t: 10.0 + t / 5 for t in range(120)}), [], 120)
    assert "p99 grew" in found.broken[0]
    assert "no process_resident_memory_bytes" in found.lines[-1]


def test_saturation_is_told() -> None:
    steps = [
        Step(users, 0.0, 0.0, Summary(1, rate, 0, 100 * rate, 1, 1, 9, 9), []) for users, rate in ((1, 50), (2, 51))
    ]
    assert climb(steps).lines[-1] == "saturation: 50.0 requests/s, 5,000 candidates/s, p99 9 ms, at 1 users"
    assert "not one was good" in climb([]).broken[0]
