"""Peers really run, give ONNX Runtime's scores, and leave nothing behind."""

import sys
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from socket import create_connection
from time import monotonic, sleep
from urllib.parse import urlsplit

import psutil
import pytest

from contract.errors import ConfigError
from loadtest.floors import Source
from loadtest.peers.environments import ENVIRONMENTS, is_ready, python_of
from loadtest.peers.registry import PEERS, Peer, Protocol
from loadtest.peers.serving import ROOT, Served, serving
from tests.loadtest.conftest import Loaded

OURS = ("fastapi", "fastapi-tuned")  # whose packages are in our own environment


@pytest.fixture
def source(loaded: Loaded) -> Source:
    """The tiny model and its rows."""
    return Source(loaded.bundles / "ple" / "1", loaded.redis, "twinscore")


def _ask(peer: Peer, served: Served, user: str, items: list[str]) -> dict[str, list[float]]:
    body = peer.body(user, items).encode()
    request = urllib.request.Request(served.urls[0], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return peer.scores(reply.read())


@pytest.mark.parametrize("name", OURS)
def test_fastapi_serves_in_processes_and_stops(name: str, source: Source) -> None:
    peer = PEERS[name]
    with serving(peer, sys.executable, source, processes=2) as served:
        started = served.processes
        before = served.cpu_seconds()
        first, missing = (_ask(peer, served, "new:3", [item]) for item in ("new:30", "nobody"))
        for _ in range(50):
            _ask(peer, served, "new:3", ["new:6"] * 500)
        assert served.cpu_seconds() > before
        assert served.rss_bytes() > 50 * 2**20
    assert first["ctr"][0] > missing["ctr"][0] == pytest.approx(0.5)
    assert len(started) >= 3
    assert not any(process.is_running() for process in started)


def test_connections_go_to_the_tuned_processes_in_turn(source: Source) -> None:
    peer = PEERS["fastapi-tuned"]
    with serving(peer, sys.executable, source, processes=2) as served:
        workers = [one for one in served.processes if "spawn_main" in " ".join(one.cmdline())]
        address = urlsplit(served.urls[0])
        with ExitStack() as stack:
            ours = {
                stack.enter_context(create_connection((str(address.hostname), int(address.port or 0)))).getsockname()[1]
                for _ in range(20)
            }
            deadline = monotonic() + 10
            while sum(map(len, held := [_held(one, ours) for one in workers])) < 20 and monotonic() < deadline:
                sleep(0.02)
    assert [len(ports) for ports in held] == [10, 10]


def _held(process: psutil.Process, ports: set[int]) -> set[int]:
    """Which of the clients' ports a process serves."""
    return {one.raddr.port for one in process.net_connections("tcp") if one.raddr and one.raddr.port in ports}


def test_a_server_that_ends_is_one_line(source: Source) -> None:
    unknown = Peer("no-such")
    with pytest.raises(ConfigError, match=r"^no-such: ended before it answered: [^\n]*No module named[^\n]*$"):
        serving(unknown, sys.executable, source, 1).__enter__()


def test_other_scores_are_refused(source: Source) -> None:
    class Wrong(Peer):
        def scores(self, reply: bytes) -> dict[str, list[float]]:
            return {task: [one + 1e-5 for one in column] for task, column in super().scores(reply).items()}

    wrong = Wrong("fastapi", protocol=Protocol.ITEMS)
    with pytest.raises(ConfigError, match=r"fastapi: its scores of \w+ are not those of ONNX Runtime"):
        serving(wrong, sys.executable, source, 1).__enter__()
    assert not [one for one in psutil.Process().children(recursive=True) if "fastapi_server" in " ".join(one.cmdline())]


def test_a_network_of_its_own_reaches_no_tcp_redis(source: Source) -> None:
    with pytest.raises(ConfigError, match=r"ray-serve: .*(unix://|namespace)"):
        serving(PEERS["ray-serve"], sys.executable, replace(source, redis="redis://127.0.0.1:1"), 1).__enter__()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PEERS if name not in OURS])
def test_the_others_serve_from_their_environments(name: str, source: Source) -> None:
    peer, root = PEERS[name], ROOT / ENVIRONMENTS
    if not is_ready(peer, root):
        pytest.skip(f"no environment: python -m loadtest.peers install {name}")
    with serving(peer, python_of(peer, root), source, processes=2) as served:
        started = served.processes
        assert len(started) >= 2
    assert not any(process.is_running() for process in started)
