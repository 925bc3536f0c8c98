"""What the load looks like: how many candidates, how much of it inline or unknown, how popular the popular are.

The same arguments are taken by `python -m loadtest` and by Locust's own command line (loadtest/locustfile.py).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import ConfigError

MOST_CANDIDATES = 1_000
CANDIDATES = "100:0.4,200:0.4,500:0.15,1000:0.05"


@dataclass(frozen=True)
class Candidates:
    """How many candidates a request has: one of `counts` by weight, or lognormal where `sigma` is set."""

    counts: tuple[float, ...]
    weights: tuple[float, ...] = (1.0,)
    sigma: float = 0.0

    @property
    def largest(self) -> int:
        """No request has more."""
        return MOST_CANDIDATES if self.sigma else int(max(self.counts))

    def draw(self, rng: np.random.Generator) -> int:
        """One count, in 1..MOST_CANDIDATES."""
        typical = rng.choice(self.counts, p=self.weights) if len(self.counts) > 1 else self.counts[0]
        count = typical * np.exp(self.sigma * rng.standard_normal()) if self.sigma else typical
        return int(np.clip(round(count), 1, MOST_CANDIDATES))


def parse_candidates(text: str) -> Candidates:
    """`200`, `100:0.3,200:0.5,1000:0.2` (count:weight) or `lognormal:MEDIAN:SIGMA`; ConfigError for anything else."""
    try:
        parsed = _lognormal(text) if text.startswith("lognormal:") else _weighted(text)
    except ValueError:
        forms = "200, 100:0.3,200:0.5,1000:0.2 (count:weight) or lognormal:200:0.5 (median, sigma)"
        raise ConfigError(f"--candidates {text}: write {forms}") from None
    if not all(1 <= count <= MOST_CANDIDATES for count in parsed.counts):
        raise ConfigError(f"--candidates {text}: counts must be between 1 and {MOST_CANDIDATES}")
    if not all(0 < weight <= 1 for weight in parsed.weights) or not 0 <= parsed.sigma <= 10:
        raise ConfigError(f"--candidates {text}: weights must be above 0, sigma between 0 and 10")
    return parsed


def _lognormal(text: str) -> Candidates:
    median, sigma = (float(part) for part in text.removeprefix("lognormal:").split(":"))
    return Candidates((median,), sigma=sigma)


def _weighted(text: str) -> Candidates:
    pairs = [part.partition(":") for part in text.split(",")]
    weights = [float(weight) if colon else 1.0 for _, colon, weight in pairs]
    total = sum(weights) or 1.0
    return Candidates(tuple(float(int(count)) for count, _, _ in pairs), tuple(weight / total for weight in weights))


@dataclass(frozen=True)
class Workload:
    """The shape of the requests; `inline` and `unknown` are shares of requests and of ids."""

    candidates: Candidates
    inline: float
    unknown: float
    exponent: float
    seed: int


def where_loaded(parser: argparse.ArgumentParser) -> None:
    """Arguments that say where what is loaded can be read."""
    add = parser.add_argument
    add("--redis", default="", help="Redis that the service reads (default: REDIS_URL, else the project's private one)")
    add("--prefix", default="twinscore", help="first part of every key in Redis (default: twinscore)")
    add("--bundles", default="bundles", help="folder of the bundles that the service serves (default: bundles)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say what to ask for, and where what is loaded can be read."""
    where_loaded(parser)
    add = parser.add_argument
    add("--ids", type=int, default=100_000, help="read at most so many user and item ids (default: 100000)")
    add("--candidates", default=CANDIDATES, help="200, 100:0.3,200:0.7 (count:weight) or lognormal:200:0.5")
    add("--inline", type=float, default=0.1, help="share of requests that bring features along (default: 0.1)")
    add("--unknown", type=float, default=0.02, help="share of ids that nothing is stored for (default: 0.02)")
    add("--exponent", type=float, default=1.05, help="Zipf exponent of users and items; 0: all alike (default: 1.05)")
    add("--seed", type=int, default=1, help="same seed, same requests (default: 1)")


def workload(args: argparse.Namespace) -> Workload:
    """Validate what `add_arguments` parsed; ConfigError names the argument."""
    for name in ("inline", "unknown"):
        if not 0 <= getattr(args, name) <= 1:
            raise ConfigError(f"--{name} {getattr(args, name)}: must be a share between 0 and 1")
    if not 0 <= args.exponent <= 10:
        raise ConfigError(f"--exponent {args.exponent}: must be between 0 and 10")
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed}: must not be negative")
    return Workload(parse_candidates(args.candidates), args.inline, args.unknown, args.exponent, args.seed)


def bundles_folder(args: argparse.Namespace) -> Path:
    """Where the bundles are."""
    return Path(args.bundles)
