"""A peer, running: started in its environment, checked against ONNX Runtime's scores, stopped with all it started."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from contract.errors import ConfigError
from loadtest.floors import Source
from loadtest.peers.check import Asking, check
from loadtest.peers.registry import Peer
from loadtest.peers.spec import write_spec

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 15.0
# a network without any address but 127.0.0.1, and processes that end with the first of them
_ISOLATED = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_LOOPBACK = ("sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@dataclass(frozen=True)
class Served:
    """A running peer. What asks it must be started as `[*enter, program, …]`."""

    urls: tuple[str, ...]
    enter: tuple[str, ...]
    pid: int
    log: Path

    @property
    def processes(self) -> list[psutil.Process]:
        """All that it consists of now."""
        try:
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    @property
    def pids(self) -> list[int]:
        """Their ids."""
        return [process.pid for process in self.processes]

    def cpu_seconds(self) -> float:
        """User and system time of all of them until now."""
        return sum(sum(times[:2]) for times in _each(self.processes, "cpu_times"))

    def rss_bytes(self) -> int:
        """Resident memory; pages that they share are counted in each."""
        return sum(memory.rss for memory in _each(self.processes, "memory_info"))


@contextmanager
def serving(peer: Peer, python: Path | str, source: Source, processes: int) -> Iterator[Served]:
    """Start `processes` of one thread each and yield once a checked reply came; ConfigError where none comes."""
    with tempfile.TemporaryDirectory(prefix="peer-") as name:  # short: sockets lie in it
        folder, port, command = Path(name), _free_port(), _command(peer, python, source)
        write_spec(source, folder / "spec.json")
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=_environment(folder, port, processes),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        enter = ("nsenter", "-t", str(process.pid), "-U", "-n", "--preserve-credentials") if peer.isolated else ()
        served = Served((f"http://127.0.0.1:{port}{peer.path}",), enter, process.pid, log)
        try:
            check(peer, source, Asking(served.urls[0], enter, process, log))
            yield served
        finally:
            _stop(served, process)


def _command(peer: Peer, python: Path | str, source: Source) -> list[str]:
    command = [str(python), "-P", "-u", "-m", peer.module]
    if not peer.isolated:
        return command
    missing = [tool for tool in ("unshare", "nsenter", "ip") if shutil.which(tool) is None]
    if missing or subprocess.run([*_ISOLATED, "true"], capture_output=True, check=False).returncode:
        raise ConfigError(f"{peer.name}: needs a network namespace of its own; {', '.join(missing) or 'not permitted'}")
    if not source.redis.startswith("unix://"):
        raise ConfigError(f"{peer.name}: from its network only a Redis at a unix:// address can be reached")
    return [*_ISOLATED, *_LOOPBACK, *command]


def _environment(folder: Path, port: int, processes: int) -> dict[str, str]:
    ours = {"PEER_SPEC": str(folder / "spec.json"), "PEER_PORT": str(port), "PEER_PROCESSES": str(processes)}
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    return os.environ | ours | threads | {"PYTHONPATH": str(ROOT), "HOME": str(folder)}


def _stop(served: Served, process: subprocess.Popen[bytes]) -> None:
    """Ask the first to end, then end whoever of its children is left."""
    left = served.processes
    if process.poll() is None:
        process.terminate()
    _, alive = psutil.wait_procs(left, timeout=STOP_SECONDS)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    process.wait()


def _each(processes: list[psutil.Process], figure: str) -> Iterator[Any]:
    """A figure of each process that has not ended meanwhile."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            yield getattr(process, figure)()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
