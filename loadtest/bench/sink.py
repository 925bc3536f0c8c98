"""What the log of exposures costs a reply: none, one that Redis takes, and one whose Redis has stopped to answer.

Every request is of an experiment, so that each is exposed. The log has a Redis of its own: features are read as ever.
"""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from redis import Redis

from contract.errors import ConfigError
from contract.local_redis import private_redis
from loadtest.bench.bodies import Bodies
from loadtest.bench.servers import Contestant, Server, Variant, ours
from loadtest.floors import Source
from loadtest.http_load import Figures, load

OFF, RUNNING, STOPPED = "off", "running", "stopped"
_WARM_SECONDS = 1.0
_EXPERIMENTS = """\
version: 1
default_model: {model}
layers:
  - name: all
    salt: all
    experiments:
      - key: same-twice
        slots: [[0, 10000]]
        arms: [{{name: a, weight: 5000}}, {{name: b, weight: 5000}}]
"""

Cell = tuple[int, str]  # connections, which log


@dataclass
class Measured:
    """All figures, and how many exposures the running log has in the end."""

    cells: dict[Cell, list[Figures]] = field(default_factory=dict)
    exposures: int = 0


def measure(
    variant: Variant,
    source: Source,
    bodies: Bodies,
    folder: Path,
    size: int,
    connections: Sequence[int],
    seconds: float,
    rounds: int,
) -> Measured:
    """Off, running, stopped, and again; the first round warms up and does not count."""
    experiments = folder / "sink-experiments.yaml"
    experiments.write_text(_EXPERIMENTS.format(model=source.bundle.parent.name))
    measured = Measured()
    with ExitStack() as stack:
        logs = {name: stack.enter_context(_redis(folder / name)) for name in (RUNNING, STOPPED)}
        addresses = {OFF: "off"} | {name: url for name, (url, _) in logs.items()}
        standing = {
            name: stack.enter_context(_service(variant, name, log, experiments, source, folder).start())
            for name, log in addresses.items()
        }
        file = bodies.of(ours(variant, source, folder), size)
        stack.enter_context(_stopped(logs[STOPPED][1]))
        for turn in range(rounds + 1):
            print(f"round {turn} of {rounds}", file=sys.stderr, flush=True)
            for count in connections:
                names = deque(standing)
                names.rotate(turn)  # nobody is always first
                each = {name: standing[name] for name in names}
                _round(measured, each, file, count, seconds if turn else _WARM_SECONDS, counts=turn > 0)
        time.sleep(1)  # for what was scored last
        measured.exposures = int(logs[RUNNING][1].xlen(f"{source.prefix}:log"))
    if not measured.exposures:
        raise ConfigError("no request was exposed: the log holds nothing, and its cost was not measured")
    return measured


def _round(
    measured: Measured, standing: Mapping[str, Server], file: Path, count: int, seconds: float, counts: bool
) -> None:
    for name, server in standing.items():
        figures = load(server.urls, file, count, seconds)
        if counts:
            measured.cells.setdefault((count, name), []).append(figures)


def _service(variant: Variant, name: str, log: str, experiments: Path, source: Source, folder: Path) -> Contestant:
    own = {"TWINSCORE_LOG": log, "TWINSCORE_EXPERIMENTS": str(experiments)}
    environment = {**variant.environment, **own}
    return ours(Variant(name, environment, variant.arguments), source, folder)


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[str, Redis]]:
    folder.mkdir()
    with private_redis(folder) as url, Redis.from_url(url) as redis:
        yield url, redis


@contextmanager
def _stopped(redis: Redis) -> Iterator[None]:
    process = int(redis.info("server")["process_id"])
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def table(measured: Measured) -> str:
    """Medians over the rounds."""
    lines = [
        "| connections | log | requests/s | p50 ms | p99 ms | p99 of the rounds |",
        "|---:|---|---:|---:|---:|---|",
    ]
    for (count, name), found in measured.cells.items():
        rate, p50 = median(each.requests_per_second for each in found), median(each.p50 for each in found)
        p99s = sorted(each.p99 for each in found)
        lines.append(
            f"| {count} | {name} | {rate:,.0f} | {p50:.2f} | {median(p99s):.2f} | {p99s[0]:.2f} to {p99s[-1]:.2f} |"
        )
    return "\n".join([*lines, "", f"The running log has {measured.exposures:,} exposures."])


def raw(measured: Measured) -> dict[str, Any]:
    """All single figures."""
    cells = [
        {"connections": count, "log": name, **asdict(figures)}
        for (count, name), found in measured.cells.items()
        for figures in found
    ]
    return {"cells": cells, "exposures": measured.exposures}
