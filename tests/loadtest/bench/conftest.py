"""A tiny HTTP server whose pace is set by the test, with metrics as the service has them."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest


@dataclass
class Tiny:
    """One request at a time, each for `seconds`."""

    url: str = ""
    seconds: float = 0.0
    status: int = 200
    closes: bool = False  # after each reply, without a word
    drops: int = 0  # so many requests are left without a reply, and their connections closed
    chunked: bool = False
    asked: list[str] = field(default_factory=list)
    stages: tuple[str, ...] = ("parse", "run", "total")

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.stage = Histogram("twinscore_stage_seconds", "Stages", ["stage"], registry=self.registry)
        self.cache = Counter("twinscore_item_cache", "Look-ups", ["event"], registry=self.registry)
        self._lock = Lock()

    def answer(self, body: str) -> bytes:
        """One reply, and what it does to the metrics."""
        with self._lock:
            time.sleep(self.seconds)
            self.asked.append(body)
            for stage, spent in zip(self.stages, (0.001, 0.002, 0.004), strict=True):
                self.stage.labels(stage).observe(spent)
            self.cache.labels("hits").inc(3)
            self.cache.labels("misses").inc(1)
        return b'{"ok": true}'


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


@pytest.fixture
def tiny() -> Iterator[Tiny]:
    """The server, running."""
    state = Tiny()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._send(200, generate_latest(state.registry))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if state.drops:
                state.drops -= 1
                self.close_connection = True
                return
            self._send(state.status, state.answer(body))
            self.close_connection = state.closes

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if state.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                body = b"".join(b"1\r\n%c\r\n" % one for one in body) + b"0\r\n\r\n"
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = _Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Three bodies."""
    file = tmp_path / "bodies.jsonl"
    file.write_text("".join(json.dumps({"user": {"id": "u"}, "item_ids": [name]}) + "\n" for name in "abc"))
    return file
