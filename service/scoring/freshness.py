"""How old the feature rows are: the stamp of each schema's live generation, looked at every few seconds."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.exceptions import RedisError

from contract.stamp import Stamp
from service.metrics import Metrics

LOOK_SECONDS = 10.0
_TIMEOUT = 1.0


class Freshness:
    """Shows ages in the metrics; while Redis is down they grow from what was known."""

    def __init__(self, read: Callable[[str], Awaitable[Stamp | None]]) -> None:
        self._read = read
        self._watched: dict[str, Metrics] = {}  # by fingerprint
        self._task: asyncio.Task[None] | None = None

    def watch(self, fingerprint: str, metrics: Metrics) -> None:
        """Show this schema's from now on."""
        self._watched.setdefault(fingerprint, metrics)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            for fingerprint, metrics in list(self._watched.items()):
                with suppress(RedisError, OSError, TimeoutError):
                    async with asyncio.timeout(_TIMEOUT):
                        stamp = await self._read(fingerprint)
                    metrics.stamped(fingerprint[:8], stamp)
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
