"""Feature rows from Redis: one MGET a request, all of one generation. A store that fails degrades, it never raises.

Item rows that are kept in process are not asked for; the live generation is, by every request.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from hiredis import pack_command
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from contract.errors import ConfigError
from contract.rows import Layout, live_key, redis_key
from service.metrics import Metrics
from service.scoring.item_rows import Found, ItemRows
from service.scoring.redis_line import SharedLine
from service.scoring.tracking import Tracking
from service.settings import Settings

TIMEOUT, UNAVAILABLE, NOT_LOADED = "features:redis-timeout", "features:redis-unavailable", "features:not-loaded"
PING_SECONDS = 1.0
_ATTEMPTS = 3  # tables switched twice within one request are not worth more


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows as they lie in Redis, None where absent; `degraded` says why all are.

    Item rows come decoded, as `found`, where the store keeps them.
    """

    user: bytes | None
    items: Sequence[bytes | None]
    degraded: str | None = None
    found: Found | None = None


@asynccontextmanager
async def fair_timeout(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """Like `asyncio.timeout`, but fair: a timer that fires late has measured a busy loop and not what is waited for.

    What arrived while the loop was busy is read first; then the time is up.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds

    def expire() -> None:
        late = loop.time() - due
        limit.reschedule(loop.time() + min(late, seconds))

    timer = loop.call_at(due, expire)
    try:
        async with asyncio.timeout(None) as limit:
            yield limit
    finally:
        timer.cancel()


class Store:
    """Reads the rows of the live generation."""

    def __init__(self, url: str | None, prefix: str, timeout_ms: int) -> None:
        self._prefix, self._timeout = prefix, timeout_ms / 1000
        if url is None:
            raise ConfigError("REDIS_URL: not set; `python -m service` starts a server of its own")
        self._generations: dict[str, str] = {}  # by fingerprint; "" where nothing is loaded
        try:
            self._pool = ConnectionPool.from_url(
                url,
                protocol=2,
                socket_timeout=None,
                socket_connect_timeout=PING_SECONDS,
                retry=Retry(NoBackoff(), 0),
                driver_info=None,
            )
        except ValueError as error:
            raise ConfigError(f"REDIS_URL: {error}") from None
        self.redis = Redis(connection_pool=self._pool)
        self._line = SharedLine(self._pool)
        self._rows: dict[str, ItemRows] = {}  # by fingerprint, as are
        self._trackings: dict[str, Tracking] = {}

    def keep_items(self, fingerprint: str, layout: Layout, settings: Settings, metrics: Metrics) -> None:
        """Keep the item rows of this schema in process, as the settings say."""
        if not settings.item_cache_rows or fingerprint in self._rows:
            return
        rows = ItemRows(
            layout, settings.item_cache_rows, settings.item_cache_mb, settings.item_cache_seconds, metrics.item_cache
        )
        self._rows[fingerprint] = rows
        self._trackings[fingerprint] = Tracking(self._pool, rows, partial(self._prefix_of_items, fingerprint))
        metrics.watch_items(fingerprint[:8], rows.__len__, lambda: rows.trusted)

    async def fetch(self, fingerprint: str, user: str | None, items: Sequence[str]) -> Stored:
        """The rows of a user and of items; None and [] are not looked up."""
        nothing = [None] * len(items)
        if user is None and not items:
            return Stored(None, nothing)
        try:
            async with fair_timeout(self._timeout):
                return await self._read(fingerprint, user, items)
        except (TimeoutError, RedisTimeoutError):
            return Stored(None, nothing, TIMEOUT)
        except (RedisError, OSError):
            return Stored(None, nothing, UNAVAILABLE)

    async def _read(self, fingerprint: str, user: str | None, items: Sequence[str]) -> Stored:
        stored = Stored(None, items=[])
        for _ in range(_ATTEMPTS):
            generation = self._generations.get(fingerprint, "")
            stored, live = await self._read_generation(fingerprint, generation, user, items)
            if live == generation:
                break
            if self._generations.get(fingerprint, "") != live:
                self._switch(fingerprint, live)
        return stored

    def _switch(self, fingerprint: str, generation: str) -> None:
        self._generations[fingerprint] = generation
        if fingerprint in self._trackings:
            self._trackings[fingerprint].follow(generation)

    async def _read_generation(
        self, fingerprint: str, generation: str, user: str | None, items: Sequence[str]
    ) -> tuple[Stored, str]:
        """Rows of this generation, and the one that was live when they were read."""
        degraded = None if generation else NOT_LOADED
        kept = self._rows.get(fingerprint) if items else None
        if kept is None:
            live, first, rows = await self._mget(fingerprint, generation, user, items)
            return Stored(first, rows, degraded), live
        with kept.look_up(items) as look_up:
            live, first, rows = await self._mget(fingerprint, generation, user, look_up.wanted)
            kept.fill(look_up, rows)
        return Stored(first, [], degraded, look_up.found), live

    async def _mget(
        self, fingerprint: str, generation: str, user: str | None, items: Sequence[str]
    ) -> tuple[str, bytes | None, list[bytes | None]]:
        """The live generation, the user's row and the items'; all at one moment."""
        keys = [live_key(self._prefix, fingerprint)]
        if user is not None:
            keys.append(redis_key(self._prefix, fingerprint, generation, "u", user))
        base = self._prefix_of_items(fingerprint, generation)
        keys.extend([base + item for item in items])
        # packed by hiredis: redis-py's own packing, key by key, would be most of our time
        live, *rows = cast(list[bytes | None], await self._line.send(pack_command(("MGET", *keys))))  # type: ignore[arg-type]
        first = None if user is None else rows.pop(0)
        return live.decode(errors="replace") if live else "", first, rows

    def _prefix_of_items(self, fingerprint: str, generation: str) -> str:
        return redis_key(self._prefix, fingerprint, generation, "i", "")

    async def ping(self) -> str | None:
        """None where Redis answers, else what is wrong; bounded in time."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._line.send(pack_command(("PING",)))
        except (TimeoutError, RedisTimeoutError):
            return f"no answer within {PING_SECONDS:g} s"
        except (RedisError, OSError) as error:
            return " ".join(str(error).split()) or type(error).__name__
        return None

    async def close(self) -> None:
        """Close all connections."""
        for tracking in self._trackings.values():
            await tracking.close()
        await self._line.close()
        await self.redis.aclose()
        await self._pool.disconnect()
