"""Latency against offered load: steps from a tenth of saturation to a tenth beyond it, in an open loop."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from contract.errors import ConfigError, TwinscoreError
from loadtest.bench.open_loop import Outcome, arrivals, drive
from loadtest.bench.servers import Contestant, Server
from loadtest.http_load import load

SHARES = tuple(tenths / 10 for tenths in range(1, 12))
FLAT, LOW, HIGH = 1.5, 0.3, 0.8  # p99 at HIGH of saturation is flat where it is within FLAT of that at LOW
_ENOUGH = 1_000  # requests a step, or three times the seconds: a p99 of fewer is noise
_SATURATING = (8, 32)


@dataclass(frozen=True)
class Step:
    """One offered load; latencies in milliseconds from the intended time."""

    share: float  # of saturation
    offered: float  # requests a second
    requests: int
    p50: float
    p99: float
    p999: float
    failures: float  # share of requests without a 200
    late: float  # milliseconds, the 99th percentile of what the generator itself was late


def saturation(server: Server, bodies: Path, seconds: float) -> float:
    """Requests a second in a closed loop, of the number of connections that gives most."""
    load(server.urls, bodies, max(_SATURATING), 1.0, server.enter)  # warms up
    loads = (load(server.urls, bodies, connections, seconds, server.enter) for connections in _SATURATING)
    return max(found.requests_per_second for found in loads)


@dataclass(frozen=True)
class Pace:
    """How the steps are taken."""

    seconds: float  # a step
    poisson: bool  # arrivals, else at one distance
    shares: tuple[float, ...] = SHARES


def climb(server: Server, bodies: Path, most: float, pace: Pace, seed: int) -> list[Step]:
    """A step for each share of `most`, which is saturation in requests a second."""
    steps = []
    for share in pace.shares:
        rate = share * most
        lasting = min(max(pace.seconds, _ENOUGH / rate), 3 * pace.seconds)
        outcome = drive(server.urls, bodies, arrivals(rate, lasting, pace.poisson, seed), server.enter)
        steps.append(_step(share, rate, outcome))
        _tell(f"{share:4.0%}  {steps[-1].p99:9.2f} ms p99")
    return steps


def _step(share: float, rate: float, outcome: Outcome) -> Step:
    p50, p99, p999 = (float(value) for value in np.percentile(outcome.latency, (50, 99, 99.9)) * 1_000)
    late = float(np.percentile(outcome.late, 99)) * 1_000
    return Step(share, rate, len(outcome.meant), p50, p99, p999, outcome.failures, late)


@dataclass
class Climbs:
    """What the servers came to; in order."""

    saturation: dict[str, float] = field(default_factory=dict)  # requests a second
    rounds: dict[str, list[list[Step]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def typical(self) -> dict[str, list[Step]]:
        """Medians over the rounds of those that did not fail; ConfigError where all did."""
        good = {name: typical(rounds) for name, rounds in self.rounds.items() if name not in self.failed}
        if not good:
            raise ConfigError("; ".join(f"{name}: {why}" for name, why in self.failed.items()))
        return good

    def raw(self) -> dict[str, Any]:
        """Every step of every round, for JSON."""
        return asdict(self)


def climb_in_turn(
    contestants: Sequence[Contestant], bodies: Callable[[Contestant], Path], pace: Pace, rounds: int
) -> Climbs:
    """One at a time, each started for its turn; who fails is left out from then on."""
    found = Climbs()
    for turn in range(rounds):
        for one in contestants:
            if one.name in found.failed:
                continue
            try:
                with one.start() as server:
                    file = bodies(one)
                    if not turn:
                        found.saturation[one.name] = saturation(server, file, pace.seconds)
                    most = found.saturation[one.name]
                    _tell(f"{one.name}, round {turn + 1} of {rounds}: saturates at {most:,.1f} requests/s")
                    steps = climb(server, file, most, pace, turn)
            except TwinscoreError as error:
                found.failed[one.name] = " ".join(str(error).split())
                _tell(f"{one.name} is left out: {found.failed[one.name]}")
                continue
            found.rounds.setdefault(one.name, []).append(steps)
    return found


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def typical(rounds: Sequence[Sequence[Step]]) -> list[Step]:
    """Medians over the rounds, step by step."""
    columns = ([asdict(step) for step in steps] for steps in zip(*rounds, strict=True))
    return [Step(**{name: median(step[name] for step in steps) for name in steps[0]}) for steps in columns]


def table(climbs: dict[str, list[Step]]) -> str:
    """Markdown: a row a server and step."""
    lines = [
        "| | of saturation | requests/s | requests | p50 ms | p99 ms | p99.9 ms | failed | generator late, p99 ms |"
    ]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, steps in climbs.items():
        lines += [f"| {name} | {_cells(step)} |" for step in steps]
    return "\n".join(lines)


def _cells(step: Step) -> str:
    load = f"{step.share:.0%} | {step.offered:,.1f} | {step.requests:,.0f}"
    return f"{load} | {step.p50:.2f} | {step.p99:.2f} | {step.p999:.2f} | {step.failures:.1%} | {step.late:.2f}"


def verdict(name: str, steps: Sequence[Step]) -> str:
    """Whether p99 stays flat, in one line."""
    low, high = (min(steps, key=lambda step: abs(step.share - wanted)) for wanted in (LOW, HIGH))
    ratio = high.p99 / low.p99
    flat = ratio <= FLAT and not high.failures
    return (
        f"{name}: p99 {high.p99:.2f} ms at {HIGH:.0%} of saturation is {ratio:.2f} times its {low.p99:.2f} ms at "
        f"{LOW:.0%}: {'flat' if flat else 'not flat'} (at most {FLAT})"
    )
