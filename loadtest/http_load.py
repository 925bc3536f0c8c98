"""POST /score as fast as the replies come, on so many connections: by wrk where it is installed, else by asyncio.

wrk takes a tenth of the CPU that Python takes, which matters where the service shares the machine.
"""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from contract.errors import ConfigError


@dataclass(frozen=True)
class Figures:
    """One measurement; latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float

    @property
    def requests_per_second(self) -> float:
        """Answered with 200."""
        return self.requests / self.seconds


def generator() -> str:
    """Which of the two it is."""
    return "wrk" if shutil.which("wrk") else "asyncio"


def load(urls: Sequence[str], bodies: Path, connections: int, seconds: float, enter: Sequence[str] = ()) -> Figures:
    """Send the lines of `bodies` in turn, connections spread over the urls; ConfigError where any reply is not 200.

    `enter` is what a command must begin with to reach the server.
    """
    if generator() == "wrk":
        return _by_wrk(urls, bodies, connections, seconds, enter)
    if enter:
        raise ConfigError(f"{urls[0]}: is in a network of its own, which takes wrk to load; install wrk")
    return asyncio.run(_by_asyncio(urls, bodies.read_text().splitlines(), connections, seconds))


def figures(latencies: Sequence[float], seconds: float) -> Figures:
    """Figures of single latencies in seconds."""
    p50, p99, p999 = (float(value) for value in np.percentile(latencies, (50, 99, 99.9)) * 1_000)
    return Figures(len(latencies), seconds, p50, p99, p999)


def _by_wrk(urls: Sequence[str], bodies: Path, connections: int, seconds: float, enter: Sequence[str]) -> Figures:
    script = Path(__file__).with_name("score.lua")
    threads = min(len(urls), connections)  # a thread keeps to one address
    shape = [f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s", "-s", str(script)]
    addresses = {"ADDRESSES": " ".join(urlsplit(url).netloc for url in urls)}
    command = [*enter, "wrk", *shape, urls[0], "--", str(bodies)]
    done = subprocess.run(command, env=os.environ | addresses, capture_output=True, text=True, check=False)
    results = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not results:
        raise ConfigError(f"wrk: {done.stderr.strip() or done.stdout.strip() or 'printed nothing'}")
    requests, errors, duration, p50, p99, p999 = (float(figure) for figure in results[0])
    if errors or not requests:
        raise ConfigError(f"{urls[0]}: {errors:g} of {requests:g} requests failed with {connections} connections")
    return Figures(int(requests), duration, p50, p99, p999)


async def _by_asyncio(urls: Sequence[str], bodies: list[str], connections: int, seconds: float) -> Figures:
    started = time.perf_counter()
    ends = [urls[i % len(urls)] for i in range(connections)]
    senders = [_send(url, bodies[i:] + bodies[:i], started + seconds) for i, url in enumerate(ends)]
    latencies = [latency for part in await asyncio.gather(*senders) for latency in part]
    return figures(latencies, time.perf_counter() - started)


def post(url: str, body: str) -> bytes:
    """A whole HTTP request."""
    address = urlsplit(url)
    head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("ascii")  # json.dumps writes ASCII alone


async def _send(url: str, bodies: list[str], until: float) -> list[float]:
    address = urlsplit(url)
    requests = [post(url, body) for body in bodies]
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    latencies: list[float] = []
    try:
        while (began := time.perf_counter()) < until:
            writer.write(requests[len(latencies) % len(requests)])
            reply = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not reply.startswith(b"http/1.1 200"):
                raise ConfigError(f"{url}: {reply.splitlines()[0].decode()}")
            await reader.readexactly(int(reply.partition(b"content-length:")[2].split()[0]))
            latencies.append(time.perf_counter() - began)
    finally:
        writer.close()
        await writer.wait_closed()
    return latencies
