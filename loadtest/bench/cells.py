"""The cells of the benchmark's table: floors, our service and peers, measured in rounds, one at a time.

Floors and variants of our service stay up side by side and take turns cell by cell: unasked they take no CPU. Peers are
started for their turn in each round and stopped after it, since some spend CPU on nothing.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from redis import Redis

from contract.errors import TwinscoreError
from loadtest.bench.bodies import Bodies
from loadtest.bench.processes import usage
from loadtest.bench.scrape import Counts, scrape
from loadtest.bench.servers import Contestant, Server
from loadtest.floors import MODEL, WHOLE, Floors
from loadtest.http_load import Figures, load

Cell = tuple[int, str, int]  # candidates, who, connections (0: a floor)
_WARM_SECONDS = 1.0


@dataclass(frozen=True)
class Sample:
    """One measurement of a cell; CPU in milliseconds a request, memory in MiB."""

    figures: Figures
    cpu: float
    redis_cpu: float
    rss: float
    hits: float | None  # share of look-ups of items that were answered in the process
    idle: float  # cores that servers used which were not asked


@dataclass
class Measured:
    """All samples, and who was left out and why."""

    cells: dict[Cell, list[Sample]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Meter:
    """Reads clocks before and after a load."""

    def __init__(self, redis: str) -> None:
        self._redis = Redis.from_url(redis)
        self.standing: dict[str, tuple[int, ...]] = {}  # processes by who they belong to

    def measure(self, name: str, server: Server, make: Callable[[], Figures]) -> Sample:
        """What the load came to, and what it cost."""
        others = [pid for other, pids in self.standing.items() if other != name for pid in pids]
        counts = _counts(server)
        idle, redis, used, began = usage(others).cpu, self.redis_cpu(), usage(server.pids).cpu, time.perf_counter()
        figures = make()
        after = usage(server.pids)
        each = 1_000 / figures.requests
        cpu, redis_cpu = (after.cpu - used) * each, (self.redis_cpu() - redis) * each
        idling = (usage(others).cpu - idle) / (time.perf_counter() - began)
        return Sample(figures, cpu, redis_cpu, after.rss, (_counts(server) - counts).hits(), idling)

    def redis_cpu(self) -> float:
        """Seconds of CPU that the Redis server has used."""
        info = self._redis.info("cpu")
        return float(info["used_cpu_user"] + info["used_cpu_sys"])


def _counts(server: Server) -> Counts:
    return scrape(server.metrics) if server.metrics else Counts({})


@dataclass(frozen=True)
class Rounds:
    """What is measured, and for how long."""

    bodies: Bodies
    meter: Meter
    sizes: Sequence[int]
    connections: Sequence[int]
    seconds: float
    rounds: int

    def run(self, floors: Floors, standing: Mapping[Contestant, Server], peers: Iterable[Contestant]) -> Measured:
        """All rounds; who fails is left out from then on."""
        measured = Measured()
        for turn in range(self.rounds + 1):
            _tell(f"round {turn} of {self.rounds}" + ("" if turn else ", which warms up and does not count"))
            for size in self.sizes:
                self._floors(measured, floors, size, warm=not turn)
                for connections in self.connections:
                    for contestant, server in standing.items():
                        self._cell(measured, contestant, server, (size, contestant.name, connections), warm=not turn)
            for peer in peers if turn else ():
                self._peer(measured, peer)
        return measured

    def _floors(self, measured: Measured, floors: Floors, size: int, warm: bool) -> None:
        processes, file = Server((), floors.pids), self.bodies.plain(size)
        for floor in (MODEL, WHOLE):
            seconds = _WARM_SECONDS if warm else self.seconds
            sample = self.meter.measure("floors", processes, partial(floors.measure, floor, file, seconds))
            if not warm:
                measured.cells.setdefault((size, floor, 0), []).append(sample)

    def _peer(self, measured: Measured, peer: Contestant) -> None:
        if peer.name in measured.failed:
            return
        _tell(f"starting {peer.name}")
        try:
            with peer.start() as server:
                for size in self.sizes:
                    self._cell(measured, peer, server, (size, peer.name, max(self.connections)), warm=True)
                    for connections in self.connections:
                        self._cell(measured, peer, server, (size, peer.name, connections), warm=False)
        except TwinscoreError as error:
            _leave_out(measured, peer.name, error)

    def _cell(self, measured: Measured, contestant: Contestant, server: Server, cell: Cell, warm: bool) -> None:
        if contestant.name in measured.failed:
            return
        size, name, connections = cell
        seconds, file = _WARM_SECONDS if warm else self.seconds, self.bodies.of(contestant, size)
        try:
            make = partial(load, server.urls, file, connections, seconds, server.enter)
            sample = self.meter.measure(name, server, make)
        except TwinscoreError as error:
            _leave_out(measured, name, error)
            return
        if not warm:
            measured.cells.setdefault(cell, []).append(sample)


def _leave_out(measured: Measured, name: str, error: TwinscoreError) -> None:
    measured.failed[name] = " ".join(str(error).split())
    _tell(f"{name} is left out: {measured.failed[name]}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
