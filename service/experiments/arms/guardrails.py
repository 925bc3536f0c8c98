"""Guardrails: an experiment one of whose arms fails too often, is too slow, or predicts clicks that do not come, ends.

Once a second each process publishes how its arms fare and judges what all processes published; without Redis, its own.
"""

import asyncio
import sys
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Any, cast

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.experiments import keys
from service.experiments.arms.health import (
    ArmReport,
    Health,
    Published,
    joined,
    process_name,
    publish,
    read_health,
    withdraw,
)
from service.experiments.change.live import Live
from service.experiments.change.versions import UNREACHABLE
from service.experiments.config import Experiment
from service.metrics import Metrics
from service.scoring.arms import Arms
from service.settings import Settings

SECONDS = 1.0
_TIMEOUT = 0.5  # of a command to Redis


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit of an arm that does not hold."""

    arm: str
    guardrail: str
    why: str


def breaches(
    experiment: Experiment, arms: Mapping[str, ArmReport], readout: Mapping[str, Any] | None
) -> Iterator[Breach]:
    """What is wrong with the arms beside the control; `readout` is the stored one, if there is one."""
    limits = experiment.guardrails
    if limits is None:
        return
    for arm, report in arms.items():
        if arm == experiment.control_arm.name or report["requests"] < limits.min_requests:
            continue
        within = f"in {report['requests']} requests of {limits.minutes:g} min"
        rate, p99 = report["error_rate"], report["p99_ms"]
        if limits.error_rate is not None and rate is not None and rate > limits.error_rate:
            why = f"arm '{arm}': error rate {100 * rate:.3g} % {within}; at most {100 * limits.error_rate:.3g} %"
            yield Breach(arm, "error_rate", why)
        if limits.p99_ms is not None and p99 is not None and p99 > limits.p99_ms:
            yield Breach(arm, "p99_ms", f"arm '{arm}': p99 {p99:.3g} ms {within}; at most {limits.p99_ms:g} ms")
    if limits.calibration is not None and readout is not None and readout.get("phase") == experiment.phase:
        for told in readout.get("guardrails", ()):
            if told["name"] == "calibration" and told["breached"]:
                why = f"arm '{told['arm']}': calibration {told['value']:.3g}; the limit is {told['limit']}"
                yield Breach(told["arm"], "calibration", why)


class Guardrails:
    """Publishes and judges, for as long as the process lives."""

    def __init__(self, settings: Settings, arms: Arms, live: Live, metrics: Metrics) -> None:
        self._arms, self._live, self._metrics, self._prefix = arms, live, metrics, settings.redis_prefix
        self._process = process_name()
        self._redis = Redis.from_url(
            settings.redis_url or "", protocol=2, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0), driver_info=None,
        )  # fmt: skip
        self._task: asyncio.Task[None] | None = None
        self._said = ""
        self._closed = False

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def health(self) -> Health:
        """All processes, as they published; without Redis, this one."""
        try:
            return await read_health(self._redis, self._prefix)
        except UNREACHABLE:
            return joined([self._published(time())])

    async def judge(self, now: float) -> None:
        """Publish, and kill what is beyond its limits."""
        for arm in self._arms:
            arm.window.tick(now)
        published = self._published(now)
        try:
            await publish(self._redis, self._prefix, self._process, published)
            health = await read_health(self._redis, self._prefix, now)
        except UNREACHABLE:
            health = joined([published])
        for _, experiment in self._live.source.config.placed():
            if experiment.guardrails is not None and not experiment.killed:
                await self._judge(experiment, health)

    async def close(self) -> None:
        """End, and tell the others."""
        self._closed = True  # a cancellation alone may be lost while the client of Redis connects
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(*UNREACHABLE):
            await withdraw(self._redis, self._prefix, self._process)
        await self._redis.aclose()

    async def _run(self) -> None:
        while not self._closed:
            try:
                await self.judge(time())
                self._said = ""
            except Exception as error:  # it must judge again whatever happened; what happened is said once
                if (said := f"guardrails: {type(error).__name__}: {error}") != self._said:
                    print(said, file=sys.stderr)
                self._said = said
            await asyncio.sleep(SECONDS)

    async def _judge(self, experiment: Experiment, health: Health) -> None:
        arms = health["experiments"].get(experiment.key, {})
        breach = next(breaches(experiment, arms, await self._readout(experiment)), None)
        if breach is None:
            return
        print(f"guardrail: experiment '{experiment.key}' is killed: {breach.why}", file=sys.stderr)
        self._metrics.kills.labels(experiment.key, breach.arm, breach.guardrail).inc()
        await self._live.kill(experiment.key, breach.why)

    async def _readout(self, experiment: Experiment) -> Mapping[str, Any] | None:
        """The stored one, where it is needed and there is one."""
        if experiment.guardrails is None or experiment.guardrails.calibration is None:
            return None
        with suppress(orjson.JSONDecodeError, *UNREACHABLE):
            text = await cast(Awaitable[bytes | None], self._redis.get(keys.readout(self._prefix, experiment.key)))
            return None if text is None else cast(Mapping[str, Any], orjson.loads(text))
        return None

    def _published(self, now: float) -> Published:
        arms = list(self._arms)
        shadows = [arm.shadow.comparison.counts() for arm in arms if arm.shadow is not None]
        return {"time": now, "arms": [arm.counts() for arm in arms], "shadows": shadows}
