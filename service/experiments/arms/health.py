"""How the arms fare: counts of the last minutes, of this process and, through Redis, of all of them.

Each process publishes what it counted once a second; readers add up those that are alive.
"""

import os
import socket
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping
from time import time
from typing import Any, NotRequired, cast

import numpy as np
import orjson
from numpy.typing import NDArray
from redis.asyncio import Redis
from typing_extensions import TypedDict

from service.experiments import keys
from service.experiments.arms.bins import Bins, Sparse, dense, sparse
from service.experiments.arms.breaker import STATES, State
from service.experiments.arms.comparison import ComparisonCounts, ComparisonReport, compared

ALIVE_SECONDS = 10.0  # an entry that is older is of a process that ended or hangs
_GONE_SECONDS = 600.0  # older still: removed by whoever reads
MINUTES = 5.0  # looked at where no guardrail says how many
LATENCY = Bins(least=5e-5, ratio=1.1, count=160)  # seconds, up to about 170
_SLICES = 30  # of the window: what is looked at is up to a thirtieth longer
_SAMPLED = 64  # requests a tick whose predictions are averaged
REQUESTS, FAILURES, SLOW, REFUSED, FALLBACKS = range(5)
_HEAD = 5  # then the bins of the latency


class ArmCounts(TypedDict):
    """An arm in one process, as it is published."""

    key: str
    phase: int
    arm: str
    breaker: State
    requests: int
    failures: int  # its model raised
    slow: int  # its model was given up on
    refused: int  # its breaker was open: its model was not asked
    fallbacks: int  # of these three, answered by the control
    latency: Sparse
    predicted: float  # sum of sampled requests' mean click probability
    sampled: int


class ArmReport(TypedDict):
    """An arm in all processes. `error_rate`: what its model failed or, its breaker being open, was not asked."""

    requests: int
    failures: int
    slow: int
    refused: int
    fallbacks: int
    p99_ms: float | None
    error_rate: float | None
    breaker: State
    predicted: float | None


class Published(TypedDict):
    """What a process tells of itself."""

    time: float
    arms: list[ArmCounts]
    shadows: NotRequired[list[ComparisonCounts]]


class Health(TypedDict):
    """All processes: arms by experiment and name."""

    experiments: dict[str, dict[str, ArmReport]]
    shadows: list[ComparisonReport]
    processes: int


class Window:
    """Counts of one arm in the last minutes. Requests pay for a few additions; `tick` does the rest."""

    def __init__(self, minutes: float = MINUTES) -> None:
        self.cover(minutes)
        self._now = _zeros()
        self._since: float | None = None  # start of the slice that is being filled
        self._slices: deque[tuple[float, NDArray[np.int64], float, int]] = deque()  # end, counts, predicted, sampled
        self._columns: list[NDArray[np.float32]] = []
        self._predicted, self._sampled = 0.0, 0

    def cover(self, minutes: float) -> None:
        """How far back it looks from now on."""
        self._seconds = 60 * minutes
        self._slice_seconds = max(1.0, self._seconds / _SLICES)

    def answered(self, seconds: float, clicks: NDArray[np.float32] | None) -> None:
        """The arm's model scored, so long after routing; `clicks` is the predicted ctr."""
        now = self._now
        now[REQUESTS] += 1
        now[_HEAD + LATENCY.of(seconds)] += 1
        if clicks is not None and len(self._columns) < _SAMPLED:
            self._columns.append(clicks)

    def failed(self) -> None:
        """Its model raised."""
        self._now[REQUESTS] += 1
        self._now[FAILURES] += 1

    def slow(self, seconds: float) -> None:
        """Its model was given up on after so long."""
        self._now[REQUESTS] += 1
        self._now[SLOW] += 1
        self._now[_HEAD + LATENCY.of(seconds)] += 1

    def refused(self) -> None:
        """Its breaker was open."""
        self._now[REQUESTS] += 1
        self._now[REFUSED] += 1

    def stood_in(self) -> None:
        """The control answered for it."""
        self._now[FALLBACKS] += 1

    def tick(self, now: float) -> None:
        """Once a second: end a slice whose time is over, and forget old ones."""
        for column in self._columns:
            mean = float(np.add.reduce(column)) / len(column)
            if mean == mean:
                self._predicted, self._sampled = self._predicted + mean, self._sampled + 1
        self._columns.clear()
        if self._since is None:
            self._since = now
        if now - self._since >= self._slice_seconds:
            self._slices.append((now, np.array(self._now, np.int64), self._predicted, self._sampled))
            self._since, self._now, self._predicted, self._sampled = now, _zeros(), 0.0, 0
        while self._slices and self._slices[0][0] <= now - self._seconds:
            self._slices.popleft()

    def counts(self, key: str, phase: int, arm: str, breaker: State) -> ArmCounts:
        """Of the whole window."""
        total = np.array(self._now, np.int64) + sum(counts for _, counts, _, _ in self._slices)
        requests, failures, slow, refused, fallbacks = map(int, total[:_HEAD])
        return {
            "key": key, "phase": phase, "arm": arm, "breaker": breaker, "requests": requests, "failures": failures,
            "slow": slow, "refused": refused, "fallbacks": fallbacks, "latency": sparse(total[_HEAD:]),
            "predicted": self._predicted + sum(predicted for _, _, predicted, _ in self._slices),
            "sampled": self._sampled + sum(sampled for _, _, _, sampled in self._slices),
        }  # fmt: skip


def process_name() -> str:
    """This process among all that share a Redis."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def publish(redis: Redis, prefix: str, process: str, published: Published) -> None:
    """Tell the others."""
    await redis.hset(keys.health(prefix), process, orjson.dumps(published).decode())


async def withdraw(redis: Redis, prefix: str, process: str) -> None:
    """This process ends."""
    await redis.hdel(keys.health(prefix), process)


async def read_health(redis: Redis, prefix: str, now: float | None = None) -> Health:
    """All processes that published lately; raises what Redis raises."""
    entries = await cast(Awaitable[dict[bytes, bytes]], redis.hgetall(keys.health(prefix)))
    now = time() if now is None else now
    alive, gone = [], []
    for process, text in entries.items():
        published = _published(text)
        age = now - published["time"] if published else np.inf
        if published and age <= ALIVE_SECONDS:
            alive.append(published)
        elif age > _GONE_SECONDS:
            gone.append(process)
    if gone:
        await redis.hdel(keys.health(prefix), *cast(list[Any], gone))
    return joined(alive)


def joined(published: Iterable[Published]) -> Health:
    """The sum of several processes; of an experiment that is between two phases, the later one's."""
    each = list(published)
    arms: dict[tuple[str, str], list[ArmCounts]] = {}
    for counts in (counts for one in each for counts in one["arms"]):
        arms.setdefault((counts["key"], counts["arm"]), []).append(counts)
    experiments: dict[str, dict[str, ArmReport]] = {}
    for (key, arm), parts in arms.items():
        phase = max(part["phase"] for part in parts)
        experiments.setdefault(key, {})[arm] = report([part for part in parts if part["phase"] == phase])
    shadows = compared([counts for one in each for counts in one.get("shadows", ())])
    return {"experiments": experiments, "shadows": shadows, "processes": len(each)}


def report(parts: list[ArmCounts]) -> ArmReport:
    """An arm in several processes."""
    requests, failures, slow, refused, fallbacks, sampled = (
        sum(part[name] for part in parts)
        for name in ("requests", "failures", "slow", "refused", "fallbacks", "sampled")
    )
    p99 = LATENCY.quantile(sum((dense(part["latency"], LATENCY) for part in parts), dense({}, LATENCY)), 0.99)
    return {
        "requests": requests, "failures": failures, "slow": slow, "refused": refused, "fallbacks": fallbacks,
        "p99_ms": None if p99 is None else round(1000 * p99, 3),
        "error_rate": (failures + refused) / requests if requests else None,
        "breaker": max((part["breaker"] for part in parts), key=STATES.index),
        "predicted": sum(part["predicted"] for part in parts) / sampled if sampled else None,
    }  # fmt: skip


def _zeros() -> list[int]:
    return [0] * (_HEAD + LATENCY.count)


def _published(text: bytes) -> Published | None:
    """None where it is not what a process of ours writes."""
    try:
        content: Mapping[str, Any] = orjson.loads(text)
        return cast(Published, content) if content["time"] >= 0 and content["arms"] is not None else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
