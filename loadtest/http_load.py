"""POST /score as fast as the replies come, on so many connections: by wrk where it is installed, else by asyncio.

wrk takes a tenth of the CPU that Python takes, which matters where the service shares the machine.
"""

import asyncio
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from contract.errors import ConfigError


@dataclass(frozen=True)
class Figures:
    """One measurement; times in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float


def generator() -> str:
    """Which of the two it is."""
    return "wrk" if shutil.which("wrk") else "asyncio"


def load(url: str, bodies: Path, connections: int, seconds: float) -> Figures:
    """Send the lines of `bodies` in turn; ConfigError where any reply is not 200."""
    if generator() == "wrk":
        return _by_wrk(url, bodies, connections, seconds)
    return asyncio.run(_by_asyncio(url, bodies.read_text().splitlines(), connections, seconds))


def figures(latencies: list[float], seconds: float) -> Figures:
    """Figures of single latencies in seconds."""
    p50, p99 = np.percentile(latencies, (50, 99)) * 1_000
    return Figures(len(latencies) / seconds, float(p50), float(p99))


def _by_wrk(url: str, bodies: Path, connections: int, seconds: float) -> Figures:
    script = Path(__file__).with_name("score.lua")
    shape = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s", "-s", str(script)]
    done = subprocess.run(["wrk", *shape, url, "--", str(bodies)], capture_output=True, text=True, check=False)
    results = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not results:
        raise ConfigError(f"wrk: {done.stderr.strip() or done.stdout.strip() or 'printed nothing'}")
    requests, errors, duration, p50, p99 = (float(figure) for figure in results[0])
    if errors or not requests:
        raise ConfigError(f"{url}: {errors:g} of {requests:g} requests failed with {connections} connections")
    return Figures(requests / duration, p50, p99)


async def _by_asyncio(url: str, bodies: list[str], connections: int, seconds: float) -> Figures:
    started = time.perf_counter()
    senders = [_send(url, bodies[i:] + bodies[:i], started + seconds) for i in range(connections)]
    latencies = [latency for part in await asyncio.gather(*senders) for latency in part]
    return figures(latencies, time.perf_counter() - started)


async def _send(url: str, bodies: list[str], until: float) -> list[float]:
    address = urlsplit(url)
    head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("ascii") for body in bodies]
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
