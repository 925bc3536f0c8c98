"""`python -m loadtest` and Locust's own command line, as a person runs them."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
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
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["figures"]["requests"] == result["counts"]["model ple"] == len(service.bodies)
    assert result["counts"]["candidates"] == 20 * len(service.bodies)
    assert (result["models"], len(result["rounds"])) == ({"ple": "1"}, 1)  # a round is at least half a second


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


@pytest.mark.slow
def test_open_load_counts_the_wait_of_requests_that_queue(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    service.delay, service.single = 0.02, True  # 50 requests/s at most, and 100 are due
    load = ["--shape", "open", "--rate", "100", "--run-time", "3s", "--p99", "5000"]
    status, printed, errors = _run(service, loaded, tmp_path, *load)
    assert status == 0, errors
    figures = json.loads((tmp_path / "result.json").read_text())["figures"]
    assert len(service.bodies) > 230  # they were sent though those before had no reply
    assert figures["p99_ms"] > 1_500  # a closed load of two users would see 40
    assert "open, 100 requests/s" in printed


@pytest.mark.slow
def test_steps_find_the_rate_of_the_service(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    service.delay, service.single = 0.02, True
    load = ["--shape", "steps", "--users", "1", "--step-time", "2s", "--run-time", "20s"]
    status, printed, errors = _run(service, loaded, tmp_path, *load)
    assert status == 0, errors
    steps = json.loads((tmp_path / "result.json").read_text())["findings"]["steps"]
    assert [step["users"] for step in steps[:2]] == [1, 2]
    assert 25 < max(step["requests_per_second"] for step in steps) < 51
    assert "saturation: " in printed


@pytest.mark.slow
def test_spike_that_is_not_recovered_from_fails(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    service.delay, service.single = 0.01, True
    load = ["--shape", "spike", "--rate", "20", "--burst", "20", "--burst-time", "1s", "--run-time", "6s"]
    status, printed, errors = _run(service, loaded, tmp_path, *load)
    assert status == 1
    assert "spike: p99" in printed
    assert "was not back within 1.5 x" in errors


@pytest.mark.slow
def test_soak_that_leaks_fails(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    service.leak, service.delay = 2e6, 0.02
    status, printed, errors = _run(service, loaded, tmp_path, "--shape", "soak", "--run-time", "9s")
    assert status == 1
    assert "memory of the service" in printed
    assert "memory grew" in errors


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _compare(service: Service, loaded: Loaded, base: Path, *more: str) -> tuple[int, str, str]:
    where = ["--host", service.url, "--redis", loaded.redis, "--bundles", str(loaded.bundles)]
    command = [sys.executable, "-m", "loadtest.compare", "--base", str(base), "--out", str(base.parent / "now"), *where]
    done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_slower_service_is_flagged_against_its_base(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    service.delay = 0.02
    assert _run(service, loaded, tmp_path, "--run-time", "6s", "--rounds", "5")[0] == 0
    service.delay = 0.06
    status, printed, errors = _compare(service, loaded, tmp_path / "result.json")
    assert status == 1, errors
    assert "error: requests_per_second: base " in errors
    assert "a drop beyond noise and 5%" in errors
    assert "ple@1" in printed


def test_comparison_on_other_ids_is_refused_before_it_runs(service: Service, loaded: Loaded, tmp_path: Path) -> None:
    assert _run(service, loaded, tmp_path)[0] == 0
    file, asked = tmp_path / "result.json", len(service.bodies)
    file.write_text(file.read_text().replace('"stored_items": 60', '"stored_items": 61'))
    status, _, errors = _compare(service, loaded, file)
    assert (status, errors.count("\n"), len(service.bodies)) == (2, 1, asked)
    assert "stored_items 61, now 60" in errors


@pytest.mark.slow
def test_workers_take_the_arguments_of_the_master_which_adds_up(service: Service, loaded: Loaded) -> None:
    where = ["--host", service.url, "--redis", loaded.redis, "--bundles", str(loaded.bundles)]
    locust, port = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", *where], str(_free_port())
    load = ["--shape", "open", "--rate", "40", "--candidates", "7", "-u", "2", "-t", "3s", "--only-summary"]
    master = [*locust, "--master", "--master-bind-port", port, "--headless", "--expect-workers", "2", *load]
    worker = [*locust, "--worker", "--master-port", port]
    with ExitStack() as stack:
        workers = [stack.enter_context(subprocess.Popen(worker, cwd=ROOT, stderr=subprocess.DEVNULL)) for _ in range(2)]
        try:
            done = subprocess.run(master, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            assert [one.wait(timeout=20) for one in workers] == [0, 0]
        finally:
            for one in workers:
                one.kill()
    assert {len(body.get("items") or body["item_ids"]) for body in service.bodies} == {7}
    assert 70 < len(service.bodies) < 190
    assert f"model ple: {len(service.bodies):,}" in done.stdout


def test_bad_shape_is_one_line_in_locust(service: Service, loaded: Loaded) -> None:
    where = ["--host", service.url, "--redis", loaded.redis, "--bundles", str(loaded.bundles)]
    locust = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--shape", "open"]
    done = subprocess.run([*locust, *where], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "error: --rate 0: must be a number" in done.stderr
    assert not service.bodies
