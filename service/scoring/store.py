"""Feature rows from Redis: one MGET a request, all of one generation. A store that fails degrades, it never raises."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from contract.errors import ConfigError
from contract.rows import live_key, redis_key

TIMEOUT, UNAVAILABLE, NOT_LOADED = "features:redis-timeout", "features:redis-unavailable", "features:not-loaded"
PING_SECONDS = 1.0
_CONNECTIONS = 32
_ATTEMPTS = 3  # tables switched twice within one request are not worth more


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows as they lie in Redis, None where absent; `degraded` says why all are."""

    user: bytes | None
    items: Sequence[bytes | None]
    degraded: str | None = None


@asynccontextmanager
async def _timeout(seconds: float) -> AsyncIterator[None]:
    """Like `asyncio.timeout`, but fair: a timer that fires late has measured a busy loop and not Redis.

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
            yield
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
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=None,  # waiting for a connection counts into our own timeout
                protocol=2,
                socket_timeout=None,
                socket_connect_timeout=PING_SECONDS,
                retry=Retry(NoBackoff(), 0),
                driver_info=None,
            )
        except ValueError as error:
            raise ConfigError(f"REDIS_URL: {error}") from None
        self.redis = Redis(connection_pool=pool)

    async def fetch(self, fingerprint: str, user: str | None, items: Sequence[str]) -> Stored:
        """The rows of a user and of items; None and [] are not looked up."""
        nothing = [None] * len(items)
        if user is None and not items:
            return Stored(None, nothing)
        try:
            async with _timeout(self._timeout):
                return await self._read(fingerprint, user, items)
        except (TimeoutError, RedisTimeoutError):
            return Stored(None, nothing, TIMEOUT)
        except (RedisError, OSError):
            return Stored(None, nothing, UNAVAILABLE)

    async def _read(self, fingerprint: str, user: str | None, items: Sequence[str]) -> Stored:
        generation, rows = "", []
        for _ in range(_ATTEMPTS):
            generation = self._generations.get(fingerprint, "")
            live, *rows = await self._mget(fingerprint, generation, user, items)
            found = live.decode(errors="replace") if live else ""
            if found == generation:
                break
            self._generations[fingerprint] = found
        first = 0 if user is None else 1
        return Stored(rows[0] if first else None, rows[first:], None if generation else NOT_LOADED)

    async def _mget(
        self, fingerprint: str, generation: str, user: str | None, items: Sequence[str]
    ) -> list[bytes | None]:
        base = redis_key(self._prefix, fingerprint, generation, "i", "")
        keys = [live_key(self._prefix, fingerprint)]
        if user is not None:
            keys.append(redis_key(self._prefix, fingerprint, generation, "u", user))
        keys.extend([base + item for item in items])
        return await self._send(pack_command(("MGET", *keys)))  # type: ignore[arg-type]

    async def _send(self, command: bytes) -> list[bytes | None]:
        """Send a packed command and read its reply; redis-py's own packing, key by key, would be most of our time."""
        pool = self.redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.send_packed_command(command)
            return cast(list[bytes | None], await connection.read_response())
        except BaseException:  # half a conversation: the next user of this connection would read our reply
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    async def ping(self) -> str | None:
        """None where Redis answers, else what is wrong; bounded in time."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self.redis.ping()
        except (TimeoutError, RedisTimeoutError):
            return f"no answer within {PING_SECONDS:g} s"
        except (RedisError, OSError) as error:
            return " ".join(str(error).split()) or type(error).__name__
        return None

    async def close(self) -> None:
        """Close all connections."""
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()
