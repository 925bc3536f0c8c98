"""`python -m service` with two workers, as a person runs it."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from tests.service.bundles import write_tiny_bundle
from tests.service.conftest import EXPERIMENTS, Bundles
from tests.service.test_main import ROOT, post, refusal, serving, start

BODY = b'{"user": {"id": "u1"}, "item_ids": ["i1", "i2"]}'
Samples = dict[str, float]


def lay_out(folder: Path, root: Path) -> Path:
    """A folder as the defaults expect it."""
    (folder / "deploy").mkdir()
    (folder / "deploy" / "experiments.yaml").write_text(EXPERIMENTS)
    (folder / "bundles").symlink_to(root)
    return folder


@pytest.fixture
def folder(tmp_path: Path, bundles: Bundles) -> Path:
    """Of one test."""
    return lay_out(tmp_path, bundles.root)


class Workers:
    """A running service of two."""

    def __init__(self, process: "subprocess.Popen[str]", address: str, curl: str) -> None:
        self.process, self.address, self.curl = process, address, curl

    def pids(self) -> set[int]:
        """The processes of the workers."""
        return {
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        }

    def connect(self) -> http.client.HTTPConnection:
        """A connection that stays open, after a first answer."""
        host, port = self.address.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        ask(connection, "/livez")
        return connection

    def page(self) -> Samples:
        """The metrics of all, over a connection of its own."""
        return samples(httpx.get(f"{self.address}/metrics").text)


def ask(connection: http.client.HTTPConnection, path: str) -> bytes:
    """GET over a connection that stays open."""
    connection.request("GET", path)
    reply = connection.getresponse()
    body = reply.read()
    assert reply.status == 200, body
    return body


def score(connection: http.client.HTTPConnection) -> None:
    """One request to score."""
    connection.request("POST", "/score", BODY)
    reply = connection.getresponse()
    assert reply.status == 200, reply.read()
    reply.read()


def samples(page: bytes | str) -> Samples:
    """Of a page of metrics, by name and values of the labels."""
    text = page if isinstance(page, str) else page.decode()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def connections(page: Samples) -> list[float]:
    """How many each worker has."""
    return sorted(value for name, value in page.items() if name.startswith("twinscore_worker_connections "))


def page_of(opened: Iterable[http.client.HTTPConnection]) -> Samples:
    """The metrics, by way of every one of these, so that none is closed for its silence."""
    return [samples(ask(connection, "/metrics")) for connection in opened][-1]


def ready(page: Samples) -> list[float]:
    """Of each worker."""
    return [value for name, value in page.items() if name.startswith("twinscore_worker_ready ")]


def until(said: Callable[[], bool]) -> None:
    """Wait for it; it must come."""
    deadline = time.monotonic() + 30
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def two_workers(folder: Path, **variables: str) -> Iterator[Workers]:
    """A service of two."""
    with serving(folder, TWINSCORE_WORKERS="2", **variables) as (process, address, curl):
        yield Workers(process, address, curl)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, bundles: Bundles, redis_address: str) -> Iterator[Workers]:
    """For the tests that leave it as it was."""
    with two_workers(lay_out(tmp_path_factory.mktemp("two"), bundles.root), REDIS_URL=redis_address) as workers:
        yield workers


def test_it_says_once_that_it_serves_and_scores(workers: Workers, redis: Redis) -> None:
    assert len(workers.pids()) == 2
    assert post(workers.curl).status_code == 200
    assert httpx.get(f"{workers.address}/readyz").json()["ready"] is True
    page = workers.page()
    assert (page["twinscore_worker_ready 0"], page["twinscore_worker_ready 1"]) == (1, 1)


def test_connections_that_stay_open_are_shared_alike(workers: Workers) -> None:
    with ExitStack() as stack:
        first = [stack.enter_context(closing(workers.connect())) for _ in range(8)]
        assert connections(page_of(first)) == [4, 4]
        for connection in first[::2]:  # in turn, so that these are all of one worker
            connection.close()
        opened = first[1::2]
        until(lambda: connections(page_of(opened)) == [0, 4])
        for expected in ([1, 4], [2, 4], [3, 4], [4, 4], [4, 5]):
            opened.append(stack.enter_context(closing(workers.connect())))
            assert connections(page_of(opened)) == expected


def test_a_burst_of_short_connections_is_answered_and_forgotten(workers: Workers) -> None:
    host, port = workers.address.removeprefix("http://").split(":")
    with ExitStack() as stack:
        for pid in workers.pids():
            os.kill(pid, signal.SIGSTOP)  # so that more come than the way to a worker holds
            stack.callback(os.kill, pid, signal.SIGCONT)
        burst = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(900)]
        time.sleep(0.2)
        for pid in workers.pids():
            os.kill(pid, signal.SIGCONT)
        for connection in burst:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for connection in burst:
            assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    until(lambda: sum(connections(workers.page())) == 1)  # the one that asks


def test_metrics_are_those_of_all_whoever_is_asked(workers: Workers, redis: Redis) -> None:
    before = workers.page()
    with closing(workers.connect()) as one, closing(workers.connect()) as other:
        for connection, requests in ((one, 3), (other, 4)):
            for _ in range(requests):
                score(connection)
        pages = [samples(ask(connection, "/metrics")) for connection in (one, other)]
    for page in pages:
        assert page["twinscore_candidates_total"] - before["twinscore_candidates_total"] == 14
        assert page["twinscore_stage_seconds_count total"] - before["twinscore_stage_seconds_count total"] == 7
        assert page["twinscore_stage_seconds_bucket +Inf total"] == page["twinscore_stage_seconds_count total"]
        infos = [value for name, value in page.items() if name.startswith("twinscore_model_info")]
        assert infos == [1, 1]  # two models, each in two workers
        followed = [value for name, value in page.items() if name.startswith("twinscore_item_cache_followed")]
        assert followed == [1]
    workers_memory = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in workers.pids())
    assert pages[0]["process_resident_memory_bytes"] > 0.9 * workers_memory


def test_a_worker_that_does_not_answer_is_shown_as_it_was(workers: Workers, redis: Redis) -> None:
    with closing(workers.connect()) as one, closing(workers.connect()) as other:
        for connection in (one, other):
            score(connection)
        before = samples(ask(one, "/metrics"))
        pid = min(workers.pids())
        os.kill(pid, signal.SIGSTOP)
        try:
            answers = [_page_in_time(connection) for connection in (one, other)]
        finally:
            os.kill(pid, signal.SIGCONT)
        (page,) = filter(None, answers)
        for name in ("twinscore_candidates_total", "twinscore_stage_seconds_count total", "twinscore_worker_ready 0"):
            assert page[name] == before[name]


def _page_in_time(connection: http.client.HTTPConnection) -> Samples | None:
    """Over this connection, or None where its worker is the one that does not answer."""
    assert connection.sock is not None
    connection.sock.settimeout(3)
    try:
        return samples(ask(connection, "/metrics"))
    except TimeoutError:
        return None


def test_a_worker_that_dies_is_replaced_and_no_counter_goes_back(
    folder: Path, redis: Redis, redis_address: str
) -> None:
    with two_workers(folder, REDIS_URL=redis_address) as workers, ExitStack() as stack:
        opened = [stack.enter_context(closing(workers.connect())) for _ in range(4)]
        for connection in opened:
            score(connection)
        assert samples(ask(opened[0], "/metrics"))["twinscore_candidates_total"] == 8
        before, victim = workers.pids(), min(workers.pids())
        os.kill(victim, signal.SIGKILL)
        alive = []
        for connection in opened:
            with suppress(ConnectionError, http.client.HTTPException):
                score(connection)
                alive.append(connection)
        assert len(alive) == 2
        until(lambda: victim not in workers.pids())
        assert page_of(alive)["twinscore_candidates_total"] == 12
        until(lambda: ready(page_of(alive)) == [1, 1])
        assert len(workers.pids() - before) == 1
        page = page_of(alive)
        assert (page["twinscore_candidates_total"], page["twinscore_worker_deaths_total"]) == (12, 1)
        alive.append(stack.enter_context(closing(workers.connect())))
        assert connections(page_of(alive)) == [1, 2]
        workers.process.terminate()
        errors = workers.process.communicate(timeout=20)[1]
        assert "killed by signal 9, Killed; its successor starts in 0.5 s" in errors
        assert errors.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_drains_and_leaves_nothing_behind(folder: Path, number: int) -> None:
    with two_workers(folder) as workers:
        pids, redis = workers.pids(), Path((folder / ".run/redis/url").read_text().removeprefix("unix://"))
        assert redis.exists()
        with closing(workers.connect()), closing(workers.connect()):
            begun = time.monotonic()
            workers.process.send_signal(number)
            output, errors = workers.process.communicate(timeout=20)
            assert time.monotonic() - begun < 4
        assert (workers.process.returncode, output, errors) == (0, "", "")
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert not redis.exists()


def test_requests_in_flight_are_answered_and_a_second_interrupt_ends_at_once(
    folder: Path, redis: Redis, redis_address: str
) -> None:
    for again, status in ((False, 0), (True, 130)):
        with two_workers(folder, REDIS_URL=redis_address) as workers, closing(workers.connect()) as connection:
            score(connection)
            redis.client_pause(4000 if again else 400)
            connection.request("POST", "/score", BODY.replace(b"i2", b"i3"))
            time.sleep(0.15)
            workers.process.send_signal(signal.SIGINT)
            if again:
                time.sleep(0.3)
                workers.process.send_signal(signal.SIGINT)
                begun = time.monotonic()
                workers.process.wait(timeout=20)
                assert time.monotonic() - begun < 1
                redis.client_unpause()
            else:
                assert connection.getresponse().status == 200
            workers.process.wait(timeout=20)
            assert workers.process.returncode == status


def test_workers_end_with_their_parent(folder: Path, redis_address: str) -> None:
    with two_workers(folder, REDIS_URL=redis_address) as workers:
        pids = workers.pids()
        workers.process.kill()
        until(lambda: not any(running(pid) for pid in pids))


def running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_mistake_of_all_workers_is_one_line(folder: Path, tmp_path: Path, redis_address: str) -> None:
    assert "nowhere.yaml: no such file" in refusal(
        folder, REDIS_URL=redis_address, TWINSCORE_WORKERS="2", TWINSCORE_EXPERIMENTS="nowhere.yaml"
    )
    write_tiny_bundle(tmp_path / "damaged", "ple", 1)
    write_tiny_bundle(tmp_path / "damaged", "dtn", 2, golden_shift=1e-3)
    assert "golden case 0" in refusal(
        folder, REDIS_URL=redis_address, TWINSCORE_WORKERS="2", TWINSCORE_BUNDLES=str(tmp_path / "damaged")
    )


def test_workers_on_one_gpu_are_refused(folder: Path, redis_address: str) -> None:
    said = refusal(folder, REDIS_URL=redis_address, TWINSCORE_WORKERS="2", TWINSCORE_DEVICE="cuda")
    assert said.startswith("error: 2 workers on TWINSCORE_DEVICE=cuda would ")


def test_a_worker_that_is_killed_while_it_loads_ends_the_start_with_one_line(folder: Path, redis_address: str) -> None:
    process = start(folder, REDIS_URL=redis_address, TWINSCORE_WORKERS="2")
    workers = Workers(process, "", "")
    until(lambda: len(workers.pids()) == 2)
    pids = workers.pids()
    os.kill(max(pids), signal.SIGKILL)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith("error: worker ")
    assert errors.endswith("killed by signal 9, Killed; if memory ran out, set a smaller TWINSCORE_WORKERS, since each "
                           "holds its own models\n")  # fmt: skip
    assert not any(running(pid) for pid in pids)


def test_the_parent_holds_neither_engine_nor_framework() -> None:
    program = "import sys, service.__main__, service.workers.parent; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert not {"onnxruntime", "numpy", "fastapi", "uvicorn", "redis"} & set(loaded.split())


def test_the_number_of_workers_is_an_argument_too(folder: Path) -> None:
    def told(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "service", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert "--workers N" in told("--help").stdout
    for wrong in ("0", "x", "257"):
        refused = told("--workers", wrong)
        assert (refused.returncode, f"{wrong}: must be 1 to 256" in refused.stderr) == (2, True)
