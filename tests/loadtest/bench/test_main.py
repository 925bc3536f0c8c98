"""`python -m loadtest.bench` as a person runs it, on a tiny model behind the real service."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from contract.local_redis import private_redis
from loadtest.bench.processes import process_tree, usage
from tests.service.bundles import write_tiny_bundle
from tests.service.conftest import ITEMS, USERS, load_rows, make_live

ROOT = Path(__file__).parents[3]
QUICK = ("--sizes", "20", "--connections", "2", "--seconds", "1", "--rounds", "1", "--processes", "1")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Arguments that name a bundle and the Redis with its rows."""
    folder = tmp_path_factory.mktemp("bench")
    write_tiny_bundle(folder / "bundles", "ple", 1)
    (folder / "redis").mkdir()
    with private_redis(folder / "redis") as url:
        with Redis.from_url(url) as redis:
            load_rows(redis, "g1", USERS, ITEMS)
            make_live(redis, "g1")
        yield "--bundles", str(folder / "bundles"), "--redis", url


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "loadtest.bench", *arguments]


def _bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(_command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_table_holds_floors_and_variants_and_says_who_failed(given: tuple[str, ...], tmp_path: Path) -> None:
    variants = ("--variant", "one:TWINSCORE_THREADS=1", "--variant", "small:TWINSCORE_MAX_ITEMS=10")
    patient = ("--env", "TWINSCORE_REDIS_TIMEOUT_MS=5000")
    done = _bench(*given, *QUICK, *variants, *patient, "--out", str(tmp_path / "bench.md"))
    assert done.returncode == 1, done.stderr
    report = (tmp_path / "bench.md").read_text()
    assert report.strip() == done.stdout.strip()
    rows = [line.split(" | ")[1] for line in report.splitlines() if line.startswith("| 20 ")]
    assert rows == ["session.run alone", "MGET, run, orjson", "one"]
    assert "small is left out: http://" in report
    cells = json.loads((tmp_path / "bench.json").read_text())["cells"]
    samples = {cell["server"]: cell["rounds"][0] for cell in cells}
    assert all(one["figures"]["requests"] > 0 and one["cpu"] > 0 and one["rss"] > 10 for one in samples.values())
    assert samples["one"]["redis_cpu"] < samples["one"]["cpu"]


@pytest.mark.slow
def test_stages_of_the_real_service(given: tuple[str, ...], tmp_path: Path) -> None:
    done = _bench("stages", *given, "--sizes", "20", "--seconds", "1", "--out", str(tmp_path / "stages.md"))
    assert done.returncode == 0, done.stderr
    names = [line.split(" | ")[0].removeprefix("| ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert {"parse", "run", "HTTP and sockets", "CPU: Redis"} <= set(names)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_what_it_started_and_writes_nothing(
    given: tuple[str, ...], tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "bench.md"
    command = _command(*given, *QUICK, "--rounds", "50", "--out", str(out))
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    assert any(line.startswith("round 1 ") for line in process.stderr)
    started = process_tree([process.pid])
    assert len(started) >= 3  # itself, a floor, the service
    # Ctrl-C in a terminal reaches the children too
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode in (130, 143)
    time.sleep(0.2)
    assert not any(usage([pid]).rss for pid in started)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--model", "mmoe"), "no bundle of model 'mmoe'"),
        (("--sizes", "99"), "40 items are loaded, 99 are needed"),
        (("--env", "A"), "--env A: write KEY=VALUE"),
        (("--variant", "a:", "--variant", "a:"), "two have the same name"),
        (("--workers", "0"), "must be at least 1"),
        (("soak", "--minutes", "0.1"), "--minutes 0.1: must be at least 0.5"),
        (("--out", "/proc/none/bench.md"), "--out /proc/none/bench.md: "),
    ],
)
def test_mistake_is_one_line(given: tuple[str, ...], arguments: tuple[str, ...], told: str) -> None:
    done = _bench(*given, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert told in done.stderr
