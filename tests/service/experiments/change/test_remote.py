"""`apply`, `history` and `rollback` against a service that listens."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn

from contract.command import run
from service.app import create_app
from service.experiments.commands import main
from service.settings import Settings
from tests.service.conftest import EXPERIMENTS

TOKEN = "a-token-of-tests"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def address(settings: Settings) -> Iterator[str]:
    """The usual service on a real port."""
    app = create_app(settings.model_copy(update={"admin_token": Settings(admin_token=TOKEN).admin_token, "log": "off"}))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not (server.started and app.state.service.loaded.is_set()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command beside new.yaml, version 8: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWINSCORE_ADMIN_TOKEN", TOKEN)
    new = EXPERIMENTS.replace("version: 7", "version: 8").replace("u-qa-1: dtn", "u-qa-2: dtn")
    Path("new.yaml").write_text(new, encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(lambda: main(list(arguments)))
        return status, *capsys.readouterr()

    return call


def test_a_change_is_applied_kept_and_rolled_back(command: Run, address: str) -> None:
    url = ("--url", address)
    status, out, _ = command("apply", "new.yaml", "--check", *url)
    assert status == 0
    assert out.endswith(f"version 8 would be taken at {address}\n")
    status, out, error = command("apply", "new.yaml", *url, "--author", "Zoë", "--note", "another tester")
    assert (status, error) == (0, "")
    assert "-        overrides: {u-qa-1: dtn, 42: ple}\n+        overrides: {u-qa-2: dtn, 42: ple}\n" in out
    assert out.endswith(f"version 8 is in force at {address}\n")
    status, out, _ = command("rollback", "7", *url, "--author", "Max", "--note", "as before")
    assert status == 0
    assert out.startswith(f"version 9 is in force at {address}: rollback to version 7")
    status, out, _ = command("history", *url)
    heads = [line for line in out.splitlines() if line.startswith("version ")]
    assert status == 0
    assert [line.split(",")[0] for line in heads] == ["version 9 (in force)", "version 8", "version 7"]
    assert heads[1].endswith("Zoë: another tester")
    assert ", Max: rollback to version 7" in heads[0]
    assert "    +        overrides: {u-qa-1: dtn, 42: ple}" in out


def test_what_the_service_refuses_is_one_line(command: Run, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    less, more = (f"weight: {weight}}}" for weight in (4_000, 6_000))
    moved = Path("new.yaml").read_text().replace("weight: 5000}", less, 1).replace("weight: 5000}", more)
    Path("moved.yaml").write_text(moved)
    Path("old.yaml").write_text(EXPERIMENTS)
    url = ("--url", address)
    cases = [
        (("apply", "moved.yaml", *url), "422: body:7: experiment 'dtn-vs-ple': 10.0 % of its enrolled users"),
        (("apply", "old.yaml", *url), "409: version 7 is in force"),
        (("rollback", "5", *url), "404: version 5 is unknown"),
        (("apply", "new.yaml", *url, "--token", "wrong"), "403: this is not the token"),
    ]
    for arguments, message in cases:
        status, out, error = command(*arguments)
        assert (status, out) == (2, "")
        assert error.startswith(f"error: {address}: {message}")
        assert error.count("\n") == 1
    monkeypatch.delenv("TWINSCORE_ADMIN_TOKEN")
    assert "401: send `Authorization: Bearer`" in command("apply", "new.yaml", *url)[2]


def test_a_bad_file_is_not_sent(command: Run) -> None:
    Path("bad.yaml").write_text("version: 1\n")
    status, _, error = command("apply", "bad.yaml", "--url", "http://127.0.0.1:1")
    assert status == 2
    assert error.startswith("error: bad.yaml:1: ")


def test_nobody_there_is_one_line(command: Run) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        status, _, error = command("history", "--url", url)
    assert status == 2
    assert error.startswith(f"error: {url}: no answer that can be used (")
    assert error.endswith("is the service there?\n")
    for wrong in ("127.0.0.1:8000", "file:///etc/passwd", "http://"):
        status, _, error = command("history", "--url", wrong)
        assert status == 2
        assert error.count("\n") == 1


def test_without_an_address_the_service_is_where_host_and_port_say(
    address: str, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", address.rpartition(":")[2])
    monkeypatch.setenv("HOST", "0.0.0.0")
    status, out, _ = command("history")
    assert status == 0
    assert "version 7" in out
