"""Minutes of load, and the line through memory."""

import os
from pathlib import Path

import pytest

from loadtest.bench.servers import Server
from loadtest.bench.soak import Soak, report, soak
from tests.loadtest.bench.conftest import Tiny


def _soak(slope: float) -> Soak:
    """Ten minutes with caches that fill in the first two, then `slope` MiB an hour."""
    memory = [(at, 100.0 + min(at, 120) + slope * at / 3_600) for at in (10.0 * step for step in range(61))]
    return Soak(50.0, memory, [2.0] * 10, 0.0)


@pytest.mark.parametrize(("slope", "flat"), [(0.0, True), (20.0, True), (120.0, False), (-90.0, True)])
def test_growth_is_that_after_the_caches_filled(slope: float, flat: bool) -> None:
    done = _soak(slope)
    assert done.slope() == pytest.approx(slope, abs=1e-6)
    assert done.growth() == pytest.approx(slope * 450 / 3_600, abs=1e-6)
    assert done.flat() is flat
    told = report(done)
    assert f"{slope:+.1f} MiB an hour" in told
    assert ("flat" if flat else "it grows") in told


def test_report_has_a_row_a_minute() -> None:
    assert "| 10 | 220.0 | 2.00 |" in report(_soak(0.0)).splitlines()


def test_load_is_steady_and_memory_is_watched(tiny: Tiny, lines: Path) -> None:
    server = Server((f"{tiny.url}/score",), (os.getpid(),))
    done = soak(server, lines, rate=50, minutes=0.02, poisson=False)
    assert len(tiny.asked) == 60
    assert (len(done.p99), done.failures) == (1, 0)
    assert all(rss > 10 for _, rss in done.memory)
