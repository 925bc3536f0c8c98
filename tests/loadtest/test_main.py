"""`python -m loadtest` and Locust's own command line, as a person runs them."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.loadtest.conftest import Loaded, Service

ROOT = Path(__file__).parents[2]


def _start(service: Service | str, loaded: Loaded, out: Path, *more: str) -> subprocess.Popen[str]:
    host = service if isinstance(service, str) else service.url
    where = ["--host", host, "--redis", loaded.redis, "--bundles", str(loaded.bundles), "--out", str(out)]
    command = [sys.executable, "-m", "loadtest", *where, "--users", "2", "--run-time", "1s", "--candidates", "20"]
    return subprocess.Popen(
        [*command, *more], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def _run(service: Service | str, loaded: Loaded, out: Path, *more: str) -> tuple[int, str, str]:
    process = _start(service, loaded, out, *more)
    printed, errors = process.communicate(timeout=60)
    return process.returncode, printed, errors


def test_good_run_prints_and_writes_the_report(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    status, printed, errors = _run(service, loaded, tmp_path / "out", "--p99", "5000")
    assert status == 0, errors
    assert "candidates/s" in printed
    assert f"model ple: {len(service.bodies):,}" in printed
    rows = list(csv.DictReader((tmp_path / "out" / "requests.csv").read_text().splitlines()))
    assert rows[0]["Name"] == "/score"
    assert int(rows[0]["Request Count"]) == len(service.bodies)
    assert "/score" in (tmp_path / "out" / "report.html").read_text()


def test_slow_service_breaks_the_p99_threshold(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    status, _, errors = _run(service, loaded, tmp_path, "--p99", "0.01")
    assert status == 1
    assert "above --p99 0.01 ms" in errors


@pytest.mark.parametrize(
    ("fault", "named"),
    [("short", "not one score a candidate for task cvr"), ("status", "status 503: too busy")],
)
def test_wrong_replies_break_the_error_threshold(
    service: Service, loaded: Loaded, tmp_path: Path, fault: str, named: str
) -> None:
    service.fault = fault
    status, printed, errors = _run(service, loaded, tmp_path)
    assert status == 1
    assert "above --errors 0.01" in errors
    assert named in printed
    assert named in (tmp_path / "failures.csv").read_text()


def test_no_service_is_one_line(loaded: Loaded, tmp_path: Path) -> None:
    status, _, errors = _run("http://127.0.0.1:9", loaded, tmp_path)
    assert status == 2
    assert errors.count("\n") == 1
    assert "no service answers" in errors


def test_service_that_is_not_ready_is_one_line(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    service.ready = False
    status, _, errors = _run(service, loaded, tmp_path)
    assert (status, errors.count("\n")) == (2, 1)
    assert "/readyz answers 503" in errors


def test_nothing_loaded_is_one_line(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    status, _, errors = _run(service, loaded, tmp_path, "--prefix", "other")
    assert (status, errors.count("\n")) == (2, 1)
    assert "nothing is loaded under prefix 'other'" in errors


def test_interrupt_still_writes_the_report(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    process = _start(service, loaded, tmp_path, "--run-time", "60s")
    deadline = time.monotonic() + 30
    while not service.bodies and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert "requests/s" in printed
    assert (tmp_path / "report.html").exists()


def test_locust_itself_runs_the_locustfile(service: Service, loaded: Loaded) -> None:
    where = ["--host", service.url, "--redis", loaded.redis, "--bundles", str(loaded.bundles)]
    locust = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "-u", "1", "-t", "2s"]
    finished = subprocess.run([*locust, *where], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    assert service.bodies
