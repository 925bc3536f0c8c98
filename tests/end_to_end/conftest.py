"""The whole way once, by the commands that a person types: prepare, train, export, load, serve."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contract.local_redis import private_redis

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stack:
    """A running service and what it was made of."""

    port: int
    folder: Path
    redis: str

    def post(self, body: object, path: str = "/score") -> tuple[int, dict[str, Any]]:
        """POST JSON on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, str]:
        """GET text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m …` in `folder`."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=folder, env=variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(folder: Path, *arguments: str, **environment: str) -> str:
    """Run `python -m …` to its end, which must be 0."""
    process = command(folder, *arguments, **environment)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Tiny models of both arms behind a real service, on a real socket, with a real Redis."""
    folder = tmp_path_factory.mktemp("stack")
    source = ("synthetic", "--rows", "6000", "--users", "300", "--items", "120", "--seed", "3")
    with whole_way(folder, source, "--set", "epochs=1", "--set", "batch_size=256") as running:
        yield running


@contextmanager
def whole_way(folder: Path, source: tuple[str, ...], *training: str) -> Iterator[Stack]:
    """Prepare a source, train and export both models, load features, serve."""
    finish(folder, "training", "prepare", *source, "--out", "data")
    for model in ("ple", "dtn"):
        finish(folder, "training", "train", "--data", "data", "--model", model, "--out", f"runs/{model}", *training)
        finish(folder, "export", "model", "--run", f"runs/{model}", "--out", "bundles")
    (folder / "redis").mkdir()
    with private_redis(folder / "redis") as url:
        finish(folder, "export", "features", "--data", "data", "--redis", url)
        with _service(folder, url) as port:
            yield Stack(port, folder, url)


@contextmanager
def _service(folder: Path, url: str) -> Iterator[int]:
    """`python -m service` on a free port, which is yielded once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = command(
        folder, "service", REDIS_URL=url, PORT=str(port), HOST="127.0.0.1",
        TWINSCORE_EXPERIMENTS=str(ROOT / "deploy" / "experiments.yaml"), TWINSCORE_ALLOW_ARM_OVERRIDE="true",
        TWINSCORE_REDIS_TIMEOUT_MS="5000",  # a busy test machine is not a slow Redis
    )  # fmt: skip
    try:
        _wait_until_ready(process, port)
        yield port
    finally:
        process.terminate()
        output, _errors = process.communicate(timeout=30)
    assert process.returncode in (0, -15), output
    assert "Traceback" not in output, output


def _wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail("the service ended before it was ready")
        with suppress(OSError):
            if Stack(port, Path(), "").get("/readyz")[0] == 200:
                return
        time.sleep(0.1)
    pytest.fail("the service was not ready within a minute")
