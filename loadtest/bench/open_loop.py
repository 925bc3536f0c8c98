"""Requests at times that are fixed beforehand, answered or not: an open loop. A process of its own, see `drive`.

A latency counts from the moment at which its request was meant to leave, so a server that stalls cannot hide it by
holding up who measures. select(2) is used since it waits to the microsecond; epoll and the event loops on it do not.
"""

import json
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from select import select
from subprocess import PIPE, Popen
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigError
from loadtest.http_load import post

_OPEN, _MOST = 32, 500  # connections at the start, and at most: select takes file numbers under 1,024
_DRAIN_SECONDS = 5.0  # for replies after the last request
ROOT = Path(__file__).parents[2]

Times = NDArray[np.float64]


def arrivals(rate: float, seconds: float, poisson: bool, seed: int) -> Times:
    """When requests leave, in seconds from the start: at one distance, or as independent callers come."""
    if not poisson:
        return np.arange(int(rate * seconds)) / rate
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / rate, int(rate * seconds + 10 * (rate * seconds) ** 0.5 + 10)))
    return times[times < seconds]


@dataclass(frozen=True)
class Outcome:
    """What became of each request; in seconds. Without a reply, the latency is what had passed until the end."""

    meant: Times  # [n] when it was to leave
    latency: Times  # [n] from then to the whole reply
    late: Times  # [n] how much later it left while a connection was free: the generator's own fault
    failed: dict[str, int]  # "503": how many, "unanswered": how many

    @property
    def failures(self) -> float:
        """Share of requests without a 200."""
        return sum(self.failed.values()) / len(self.meant)


def drive(urls: Sequence[str], bodies: Path, times: Times, enter: Sequence[str] = ()) -> Outcome:
    """Send the lines of `bodies` in turn at these times, from another process; ConfigError where nobody answers."""
    command = [*enter, sys.executable, "-m", "loadtest.bench.open_loop", str(bodies), *urls]
    with Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            told, wrong = process.communicate(json.dumps(times.tolist()))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ConfigError(f"{urls[0]}: {(wrong.strip().splitlines() or ['the generator ended'])[-1]}")
    found = json.loads(told)
    return Outcome(times, np.array(found["latency"]), np.array(found["late"]), found["failed"])


class _Connection:
    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.url = url
        self.socket = socket.create_connection((address.hostname, address.port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = -1  # of the request in flight
        self._reply = bytearray()

    def send(self, number: int, request: bytes) -> None:
        self.number, self._reply = number, bytearray()
        self.socket.sendall(request)

    def receive(self) -> str:
        """The status once the reply is whole, "" before; OSError where the server hung up."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionResetError("hung up")
        self._reply += part
        head, gap, body = bytes(self._reply).partition(b"\r\n\r\n")
        fields = head.lower()
        length = fields.partition(b"\r\ncontent-length:")[2].split(b"\r\n", 1)[0]
        whole = len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")  # without a length: in chunks
        return fields.split(b" ", 2)[1].decode() if gap and whole else ""


class Sender:
    """Connections, and the requests that go over them."""

    def __init__(self, urls: Sequence[str], bodies: Sequence[str], times: Sequence[float]) -> None:
        self._urls, self._times = urls, times
        self._requests = {url: [post(url, body) for body in bodies] for url in urls}
        self._all: dict[int, _Connection] = {}
        self._free: deque[_Connection] = deque()
        self.latency, self.late, self.failed = [-1.0] * len(times), [0.0] * len(times), Counter[str]()
        self.left = len(times)
        self._opened = 0
        for _ in range(_OPEN):
            self._free.append(self._open())

    def run(self) -> None:
        """Until all is answered, or nothing more is to be waited for."""
        self._began = time.perf_counter() + 0.01
        waiting, ahead, end = deque[int](), 0, self._times[-1] + _DRAIN_SECONDS
        while self.left and (now := self._now()) < end:
            while ahead < len(self._times) and self._times[ahead] <= now:
                waiting.append(ahead)
                ahead += 1
            while waiting and (self._free or len(self._all) < _MOST):
                self._send(waiting.popleft())
            until = self._times[ahead] if ahead < len(self._times) else end
            for number in select(self._all, (), (), max(0.0, until - self._now()))[0]:
                self._receive(self._all[number])
        self._give_up()
        for connection in self._all.values():
            connection.socket.close()

    def _now(self) -> float:
        return time.perf_counter() - self._began

    def _open(self) -> _Connection:
        connection = _Connection(self._urls[self._opened % len(self._urls)])
        self._opened += 1
        self._all[connection.socket.fileno()] = connection
        return connection

    def _send(self, number: int) -> None:
        self.late[number] = self._now() - self._times[number] if self._free else 0.0
        connection = self._free.popleft() if self._free else self._open()
        requests = self._requests[connection.url]
        try:
            connection.send(number, requests[number % len(requests)])
        except OSError:
            self._again(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            status = connection.receive()
        except OSError:
            self._again(connection)
            return
        if not status:
            return
        self.latency[connection.number] = self._now() - self._times[connection.number]
        if status != "200":
            self.failed[status] += 1
        self.left -= 1
        connection.number = -1
        self._free.append(connection)

    def _again(self, connection: _Connection) -> None:
        """A server may close a connection that it deems idle: what was sent over it goes over a new one."""
        del self._all[connection.socket.fileno()]
        connection.socket.close()
        if connection.number < 0:
            self._free.remove(connection)
            return
        fresh = self._open()
        requests = self._requests[fresh.url]
        fresh.send(connection.number, requests[connection.number % len(requests)])

    def _give_up(self) -> None:
        for number, latency in enumerate(self.latency):
            if latency < 0:
                self.latency[number] = self._now() - self._times[number]
                self.failed["unanswered"] += 1


def main() -> int:
    """Read times from stdin, send, and write what became of the requests to stdout."""
    bodies, *urls = sys.argv[1:]
    try:
        sender = Sender(urls, Path(bodies).read_text().splitlines(), json.load(sys.stdin))
        sender.run()
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 1
    json.dump({"latency": sender.latency, "late": sender.late, "failed": sender.failed}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
