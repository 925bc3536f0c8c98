"""Feature rows from Redis: one MGET a request, all of one generation. A store that fails degrades, it never raises.

Item rows that are kept in process are not asked for; the live generation is, by every request. Of a cluster no rows
are kept, as each node tells of its own changes alone.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

from hiredis import pack_command
from pydantic import ValidationError
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from contract.cluster import ClusterUrl
from contract.errors import ConfigError
from contract.rows import Layout, live_key, redis_key
from contract.stamp import Stamp, stamp_key
from service.metrics import Metrics
from service.scoring.freshness import Freshness
from service.scoring.item_rows import Found, ItemRows
from service.scoring.redis_cluster import ClusterLine
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

    def __init__(self, url: str | None, prefix: str, timeout_ms: int, features_url: str | None = None) -> None:
        """Rows are read from `features_url`, which may be of a cluster; None: from `url`."""
        self._prefix, self._timeout = prefix, timeout_ms / 1000
        if url is None:
            raise ConfigError("REDIS_URL: not set; `python -m service` starts a server of its own")
        if "+cluster:" in url:
            raise ConfigError(
                "REDIS_URL: a cluster can hold feature rows alone; set TWINSCORE_FEATURES_URL to it,"
                " and REDIS_URL to one server, for experiments"
            )
        self._generations: dict[str, str] = {}  # by fingerprint; "" where nothing is loaded
        self.redis = Redis(connection_pool=_pool("REDIS_URL", url))  # of experiments
        self._cluster = _cluster(features_url)
        pool = (
            _pool("TWINSCORE_FEATURES_URL", features_url or url)
            if self._cluster is None
            else self.redis.connection_pool
        )
        self.features = Redis(connection_pool=pool) if self._cluster is None else None  # None: they are in a cluster
        self._pool, self._line = pool, SharedLine(pool)
        self._freshness = Freshness(self._stamp)
        self._rows: dict[str, ItemRows] = {}  # by fingerprint, as are
        self._trackings: dict[str, Tracking] = {}

    def show_ages(self, fingerprint: str, metrics: Metrics) -> None:
        """Show how old the rows of this schema are."""
        self._freshness.watch(fingerprint, metrics)

    def keep_items(self, fingerprint: str, layout: Layout, settings: Settings, metrics: Metrics) -> None:
        """Keep the item rows of this schema in process, as the settings say."""
        if not settings.item_cache_rows or fingerprint in self._rows or self._cluster is not None:
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
        """The live generation, the user's row and the items'; all at one moment, but for a cluster.

        There a generation may be replaced meanwhile; its rows stay for longer than a request lasts.
        """
        keys = [live_key(self._prefix, fingerprint)]
        if user is not None:
            keys.append(redis_key(self._prefix, fingerprint, generation, "u", user))
        base = self._prefix_of_items(fingerprint, generation)
        keys.extend([base + item for item in items])
        live, *rows = await self._values(keys)
        first = None if user is None else rows.pop(0)
        return live.decode(errors="replace") if live else "", first, rows

    async def _values(self, keys: Sequence[str]) -> list[bytes | None]:
        if self._cluster is not None:
            return await self._cluster.mget(keys)
        # packed by hiredis: redis-py's own packing, key by key, would be most of our time
        return cast(list[bytes | None], await self._line.send(pack_command(("MGET", *keys))))  # type: ignore[arg-type]

    async def _stamp(self, fingerprint: str) -> Stamp | None:
        """What the live generation holds and since when; None where that is not said."""
        (live,) = await self._values([live_key(self._prefix, fingerprint)])
        generation = (live or b"").decode(errors="replace")
        (text,) = await self._values([stamp_key(self._prefix, fingerprint, generation)])
        with suppress(ValidationError):
            return None if text is None else Stamp.model_validate_json(text)
        return None

    def _prefix_of_items(self, fingerprint: str, generation: str) -> str:
        return redis_key(self._prefix, fingerprint, generation, "i", "")

    async def ping(self) -> str | None:
        """None where Redis answers, else what is wrong; bounded in time."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await (self._line.send(pack_command(("PING",))) if self._cluster is None else self._cluster.ping())
        except (TimeoutError, RedisTimeoutError):
            return f"no answer within {PING_SECONDS:g} s"
        except (RedisError, OSError) as error:
            return " ".join(str(error).split()) or type(error).__name__
        return None

    async def close(self) -> None:
        """Close all connections."""
        await self._freshness.close()
        for tracking in self._trackings.values():
            await tracking.close()
        await self._line.close()
        if self._cluster is not None:
            await self._cluster.close()
        for redis in filter(None, (self.redis, self.features)):
            await redis.aclose()
            await redis.connection_pool.disconnect()


def _pool(name: str, url: str) -> ConnectionPool:
    """ConfigError with the setting's name where the URL cannot be read."""
    try:
        return ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=PING_SECONDS,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def _cluster(url: str | None) -> ClusterLine | None:
    try:
        parsed = ClusterUrl.parse(url or "")
    except ValueError as error:
        raise ConfigError(f"TWINSCORE_FEATURES_URL: {error}") from None
    return None if parsed is None else ClusterLine(parsed, partial(_pool, "TWINSCORE_FEATURES_URL"))
