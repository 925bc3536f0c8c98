"""`python -m service` as a person runs it: one line for each mistake, one curl that works, a clean end."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from redis import Redis

from contract.schema import Schema
from tests.service.bundles import FIELDS, TASKS, write_tiny_bundle
from tests.service.conftest import EXPERIMENTS, Bundles

ROOT = Path(__file__).parents[2]


def start(folder: Path, **variables: str) -> subprocess.Popen[str]:
    """The service in `folder`, on a free port, with nothing set but what is given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TWINSCORE_", "REDIS_URL"))}
    patient = {"PORT": "0", "TWINSCORE_REDIS_TIMEOUT_MS": "5000"}  # the tests may share a busy machine
    environment = clean | {"PYTHONPATH": str(ROOT)} | patient | variables
    return subprocess.Popen(
        [sys.executable, "-m", "service"], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, bundles: Bundles) -> Path:
    """A folder laid out as the defaults expect."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "experiments.yaml").write_text(EXPERIMENTS)
    (tmp_path / "bundles").symlink_to(bundles.root)
    return tmp_path


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The process, its address and the curl that it prints; stopped if the block left it running."""
    process = start(folder, **variables)
    try:
        assert process.stdout is not None
        first, curl = process.stdout.readline(), process.stdout.readline()
        address = re.search(r"http://\S+:\d+", first)
        assert address, first + (process.communicate()[1] if not first else "")
        yield process, address[0], curl
    finally:
        if process.poll() is None:
            process.terminate()  # and not kill: it has a Redis to stop
        process.communicate(timeout=20)


def post(curl: str) -> httpx.Response:
    """What the printed command sends."""
    command = shlex.split(curl)
    assert command[0] == "curl"
    return httpx.post(
        next(word for word in command if word.startswith("http")), content=command[command.index("-d") + 1], timeout=30
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_prints_a_curl_of_stored_ids_and_ends_cleanly(
    folder: Path, redis: Redis, redis_address: str, number: int
) -> None:
    with serving(folder, REDIS_URL=redis_address) as (process, address, curl):
        reply = post(curl).json()
        assert len(reply["item_ids"]) == 3
        metrics = httpx.get(f"{address}/metrics").text
        assert 'twinscore_missing_rows_total{side="user"} 0.0' in metrics
        assert 'twinscore_missing_rows_total{side="item"} 0.0' in metrics
        assert httpx.get(f"{address}/readyz").json()["ready"] is True
        begun = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        assert time.monotonic() - begun < 5
        assert (process.returncode, output, errors) == (0, "", "")


def test_without_redis_url_it_starts_a_redis_and_stops_it(folder: Path) -> None:
    with serving(folder) as (process, _address, curl):
        reply = post(curl).json()
        assert reply["degraded"] == ["features:not-loaded"]
        assert "features" in curl  # nothing is loaded, so the example brings its own
        url = (folder / ".run" / "redis" / "url").read_text()
        path = Path(url.removeprefix("unix://"))
        assert path.exists()
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0
        assert not path.exists()


def test_a_schema_without_stored_rows_needs_none(tmp_path: Path, redis: Redis, redis_address: str) -> None:
    schema = Schema(fields=FIELDS, tasks=TASKS)
    write_tiny_bundle(tmp_path / "bundles", "only", 1, schema=schema)
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "experiments.yaml").write_text("version: 1\ndefault_model: only\n")
    with serving(tmp_path, REDIS_URL=redis_address) as (_process, _address, curl):
        response = post(curl)
        assert response.status_code == 200, response.text
        assert response.json()["degraded"] == []


def test_requests_in_flight_are_answered_before_the_end(folder: Path, redis: Redis, redis_address: str) -> None:
    with serving(folder, REDIS_URL=redis_address) as (process, address, _curl):
        body = b'{"user": {"id": "u1"}, "item_ids": ["i1"]}'
        httpx.post(f"{address}/score", content=body)
        host, port = address.removeprefix("http://").split(":")
        redis.client_pause(400)
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            time.sleep(0.15)
            process.terminate()
            answer = connection.makefile("rb").read()  # until the service closes
        assert answer.startswith(b"HTTP/1.1 200")
        assert orjson.loads(answer.split(b"\r\n\r\n", 1)[1])["degraded"] == []
        process.communicate(timeout=20)
        assert process.returncode == 0


def refusal(folder: Path, **variables: str) -> str:
    """The one line on stderr of a service that must not start."""
    process = start(folder, **variables)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 2, errors
    assert output == ""
    assert errors.count("\n") == 1, errors
    assert errors.startswith("error: ")
    return errors


BAD: list[tuple[dict[str, str], str]] = [
    ({"TWINSCORE_MAX_ITEM": "5"}, "TWINSCORE_MAX_ITEM: unknown variable; did you mean TWINSCORE_MAX_ITEMS?"),
    (
        {"TWINSCORE_ZZZ": "5"},
        "TWINSCORE_ZZZ: unknown variable; known: TWINSCORE_ADMIN_TOKEN, TWINSCORE_ALLOW_ARM_OVERRIDE, ",
    ),
    ({"TWINSCORE_MAX_ITEMS": "many"}, "TWINSCORE_MAX_ITEMS=many: "),
    ({"TWINSCORE_MAX_ITEMS": "0"}, "TWINSCORE_MAX_ITEMS=0: "),
    ({"TWINSCORE_DEVICE": "tpu"}, "TWINSCORE_DEVICE=tpu: "),
    ({"PORT": "http"}, "PORT=http: "),
    ({"HOST": "no.such.host.invalid"}, "cannot listen on no.such.host.invalid:0"),
    ({"REDIS_URL": "localhost:6379"}, "REDIS_URL: "),
    ({"TWINSCORE_EXPERIMENTS": "nowhere.yaml"}, "nowhere.yaml: no such file; set TWINSCORE_EXPERIMENTS"),
    ({"TWINSCORE_BUNDLES": "nowhere"}, "experiments.yaml:2: model 'ple': nowhere/ple: no bundle"),
]


@pytest.mark.parametrize(
    ("variables", "message"), BAD, ids=["+".join(variables) + message[:20] for variables, message in BAD]
)
def test_a_mistake_is_one_line_and_exit_2(
    folder: Path, redis_address: str, variables: dict[str, str], message: str
) -> None:
    assert message in refusal(folder, **({"REDIS_URL": redis_address} | variables))


def test_an_absent_cuda_is_an_error_not_a_silent_cpu(folder: Path, redis_address: str) -> None:
    ort: Any = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    assert "TWINSCORE_DEVICE=cuda" in refusal(folder, REDIS_URL=redis_address, TWINSCORE_DEVICE="cuda")


def test_a_port_in_use_is_one_line(folder: Path, redis_address: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}: address already in use" in refusal(
            folder, REDIS_URL=redis_address, PORT=port
        )


def test_variables_that_a_cluster_or_a_test_sets_are_not_ours(folder: Path, redis_address: str) -> None:
    others = {
        "TWINSCORE_SERVICE_HOST": "10.0.0.1", "TWINSCORE_PORT": "tcp://10.0.0.1:80",
        "TWINSCORE_SERVICE_PORT_HTTP": "80",        "TWINSCORE_PORT_80_TCP_ADDR": "10.0.0.1", "TWINSCORE_DATA": "/data",
    }  # fmt: skip
    assert "no such file" in refusal(folder, REDIS_URL=redis_address, TWINSCORE_EXPERIMENTS="x", **others)
    assert "TWINSCORE_PORT: unknown" in refusal(folder, REDIS_URL=redis_address, TWINSCORE_PORT="9000")


def test_a_redis_that_is_down_is_a_warning_and_a_service(folder: Path) -> None:
    with serving(folder, REDIS_URL="redis://127.0.0.1:1") as (process, address, curl):
        assert post(curl).json()["degraded"] == ["features:redis-unavailable"]
        assert httpx.get(f"{address}/readyz").status_code == 503
        process.terminate()
        assert "warning: Redis: " in process.communicate(timeout=20)[1]
