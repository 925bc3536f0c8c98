"""Is a figure worse than it was, beyond noise? Two results, round by round.

The ratio of now to base is estimated as Hodges and Lehmann do (the median over all pairs of rounds), its exact interval
comes from inverting the Mann-Whitney test. Ranks, because a shared machine has rounds that are simply slow; no scipy,
which only training installs. The intervals of all figures together hold with 95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from contract.errors import ConfigError
from loadtest.result import Result, machine

FIGURES = {  # and the sign of better
    "requests_per_second": 1,
    "candidates_per_second": 1,
    "p50_ms": -1,
    "p99_ms": -1,
    "cpu_ms_a_request": -1,
}
_CONFIDENCE = 0.95
COMPARABLE = ("closed", "open", "soak")  # the rounds of others differ by design


@dataclass(frozen=True)
class Change:
    """A figure now against what it was: medians, the ratio, and the interval of the ratio."""

    name: str
    base: float
    now: float
    ratio: float
    low: float
    high: float

    def worse(self, effect: float) -> bool:
        """A drop beyond noise, of more than `effect` (a share)."""
        if FIGURES[self.name] > 0:
            return self.high < 1 and self.ratio < 1 - effect
        return self.low > 1 and self.ratio > 1 + effect

    def __str__(self) -> str:
        interval = f"[{self.low:.3f}, {self.high:.3f}]"
        return f"{self.name}: base {self.base:,.4g}, now {self.now:,.4g}, ratio {self.ratio:.3f} {interval}"


def depth(n: int, m: int, error: float) -> int:
    """How many of the n x m sorted ratios to leave out on each side, plus 1; 0: no interval is so sure.

    Counts the u at which P(U <= u) <= error / 2, for Mann-Whitney's U where nothing differs: its distribution has the
    generating function prod over i = 1..n of (1 - q^(m+i)) / (1 - q^i), in whole numbers.
    """
    ways = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for u in range(n * m, m + i - 1, -1):
            ways[u] -= ways[u - m - i]
        for u in range(i, n * m + 1):
            ways[u] += ways[u - i]
    total = sum(ways)
    return sum(2 * reached <= error * total for reached in accumulate(ways))


def change(name: str, base: Sequence[float], now: Sequence[float], error: float) -> Change:
    """Estimate and interval of now / base; figures are positive."""
    ratios = np.sort(np.divide.outer(np.array(now), np.array(base)), axis=None)
    k = depth(len(base), len(now), error)
    if not k:
        raise ConfigError(f"{len(base)} and {len(now)} rounds are too few to tell a drop from chance; use --rounds 10")
    middle = float(np.median(ratios))
    return Change(name, float(np.median(base)), float(np.median(now)), middle, float(ratios[k - 1]), float(ratios[-k]))


def changes(base: Result, now: Result) -> list[Change]:
    """Of every figure that all rounds of both have."""
    error = (1 - _CONFIDENCE) / len(FIGURES)
    rounds = base.rounds + now.rounds
    names = [name for name in FIGURES if all(one.get(name, 0) > 0 for one in rounds)]
    return [change(n, [one[n] for one in base.rounds], [one[n] for one in now.rounds], error) for n in names]


def check_base(base: Result, file: Path, host: str) -> None:
    """ConfigError where nothing that is measured here can be held against it."""
    if base.workload["shape"] not in COMPARABLE:
        raise ConfigError(f"{file}: is of --shape {base.workload['shape']}; {', '.join(COMPARABLE)} can be compared")
    if different := _difference(base.machine, machine()):
        raise ConfigError(f"{file}: was measured on another machine ({different}); measure the base here")
    there, here = (urlsplit(address).hostname for address in (base.host, host))
    if there != here:
        raise ConfigError(f"{file}: was measured against {there}, --host is {here}; measure the base there")
    if idle := [i for i, one in enumerate(base.rounds, 1) if not one["requests"]]:
        raise ConfigError(f"{file}: round {idle[0]} has no requests; measure the base anew, with a longer --run-time")


def check_same(base: Result, workload: dict[str, Any]) -> None:
    """ConfigError where the workload cannot be run again as it was."""
    if different := _difference(base.workload, workload):
        raise ConfigError(f"the base had another workload ({different}); measure the base on what is loaded now")


def _difference(base: dict[str, Any], now: dict[str, Any]) -> str:
    return ", ".join(f"{name} {base.get(name)}, now {now.get(name)}" for name in now if base.get(name) != now[name])
