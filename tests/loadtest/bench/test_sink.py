"""What the log costs: three services in turns, one of which logs to a Redis that has stopped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from contract.local_redis import private_redis
from loadtest.bench.sink import OFF, RUNNING, STOPPED, Measured, raw, table
from loadtest.http_load import Figures
from tests.service.bundles import write_tiny_bundle
from tests.service.conftest import ITEMS, USERS, load_rows, make_live


def _figures(rate: int, p99: float) -> Figures:
    return Figures(rate, 1.0, p99 / 2, p99, p99)


def test_the_table_shows_medians_and_the_range_of_p99() -> None:
    measured = Measured({(8, STOPPED): [_figures(100, 9.0), _figures(300, 2.0), _figures(200, 4.0)]}, 1234)
    assert "| 8 | stopped | 200 | 2.00 | 4.00 | 2.00 to 9.00 |" in table(measured).splitlines()
    assert table(measured).endswith("The running log has 1,234 exposures.")
    assert [cell["p99"] for cell in raw(measured)["cells"]] == [9.0, 2.0, 4.0]


@pytest.mark.slow
def test_each_log_is_measured_and_the_stopped_one_goes_on_after(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundles", "ple", 1)
    (tmp_path / "redis").mkdir()
    with private_redis(tmp_path / "redis") as url:
        with Redis.from_url(url) as redis:
            load_rows(redis, "g1", USERS, ITEMS)
            make_live(redis, "g1")
        given = ["--bundles", str(tmp_path / "bundles"), "--redis", url, "--out", str(tmp_path / "sink.md")]
        quick = ["--sizes", "20", "--connections", "2", "--seconds", "1", "--rounds", "1", "--workers", "1"]
        command = [sys.executable, "-m", "loadtest.bench", "sink", *given, *quick]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads((tmp_path / "sink.json").read_text())
    assert [cell["log"] for cell in measured["cells"]] == [OFF, RUNNING, STOPPED]
    (running,) = (cell for cell in measured["cells"] if cell["log"] == RUNNING)
    assert measured["exposures"] > running["requests"]  # the first round too
