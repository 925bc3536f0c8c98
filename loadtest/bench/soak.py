"""Minutes of steady load: does memory grow, does p99 drift?"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from loadtest.bench.open_loop import arrivals, drive
from loadtest.bench.processes import usage
from loadtest.bench.servers import Server

SHARE = 0.7  # of saturation
LEAST_MINUTES = 0.5
_EVERY_SECONDS = 5.0
_SETTLING = 0.25  # of the time: caches fill, the allocator's arenas grow
_FLAT = 0.01  # of memory, or _NOISE MiB: growth over the rest that is no growth
_NOISE = 4.0


@dataclass(frozen=True)
class Soak:
    """What was seen; MiB, milliseconds."""

    rate: float  # requests a second
    memory: list[tuple[float, float]]  # seconds from the start, MiB
    p99: list[float]  # of each minute
    failures: float  # share of requests without a 200

    def settled(self) -> list[tuple[float, float]]:
        """Memory once caches are filled."""
        return [(at, rss) for at, rss in self.memory if at >= _SETTLING * self.memory[-1][0]]

    def slope(self) -> float:
        """MiB an hour, by least squares over what has settled."""
        at, rss = np.array(self.settled()).T
        return float(np.polyfit(at, rss, 1)[0]) * 3_600

    def growth(self) -> float:
        """MiB along that line from when it settled to the end."""
        settled = self.settled()
        return self.slope() * (settled[-1][0] - settled[0][0]) / 3_600

    def flat(self) -> bool:
        """Whether memory grew no more than its noise."""
        return self.growth() <= max(_NOISE, _FLAT * self.memory[-1][1])


def soak(server: Server, bodies: Path, rate: float, minutes: float, poisson: bool) -> Soak:
    """Load at `rate` for so long, LEAST_MINUTES at least."""
    with _watched(server) as memory:
        outcome = drive(server.urls, bodies, arrivals(rate, minutes * 60, poisson, 1), server.enter)
    minute = (outcome.meant // 60).astype(int)
    p99 = [float(np.percentile(outcome.latency[minute == one], 99)) * 1_000 for one in np.unique(minute)]
    return Soak(rate, memory, p99, outcome.failures)


def report(done: Soak) -> str:
    """Markdown: a row a minute, the slope and the verdict."""
    lines = ["| minute | RSS MiB | p99 ms |", "|--:|--:|--:|"]
    for minute, p99 in enumerate(done.p99):
        during = [rss for at, rss in done.memory if 60 * minute <= at < 60 * (minute + 1)]
        lines.append(f"| {minute + 1} | {f'{during[-1]:,.1f}' if during else '–'} | {p99:.2f} |")
    verdict = "flat" if done.flat() else "it grows"
    memory = f"{done.slope():+.1f} MiB an hour, {done.growth():+.1f} MiB in the last {1 - _SETTLING:.0%} of the run"
    lines.append(f"\nmemory: {memory}: {verdict}; {done.rate:,.1f} requests/s offered, {done.failures:.2%} failed")
    return "\n".join(lines)


def raw(done: Soak) -> dict[str, Any]:
    """For JSON."""
    return asdict(done) | {"slope_mib_an_hour": done.slope(), "flat": done.flat()}


@contextmanager
def _watched(server: Server) -> Iterator[list[tuple[float, float]]]:
    """Memory of the server every few seconds while the block runs."""
    memory: list[tuple[float, float]] = []
    began, over = time.monotonic(), Event()

    def look() -> None:
        memory.append((time.monotonic() - began, usage(server.pids).rss))
        print(f"{memory[-1][0]:6.0f} s {memory[-1][1]:9,.1f} MiB", file=sys.stderr, flush=True)

    def watch() -> None:
        look()
        while not over.wait(_EVERY_SECONDS):
            look()

    thread = Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()
