"""Changes of item rows as Redis tells them: what changed drops out of the rows kept in process.

One connection a schema, in the broadcasting mode of Redis' client tracking. While it is down nothing is kept, and so
nothing is old. A connection that is dead without saying so is found out by a PING a second.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import RedisError

from service.scoring.item_rows import ItemRows
from service.scoring.redis_line import Line, open_line

BEAT_SECONDS = 1.0
_FIRST_RETRY, _LAST_RETRY = 0.02, 2.0  # seconds


class Tracking:
    """Follows the rows of one schema; `prefix` gives the start of their keys in a generation."""

    def __init__(self, pool: ConnectionPool, rows: ItemRows, prefix: Callable[[str], str]) -> None:
        self._pool, self._rows, self._prefix = pool, rows, prefix
        self._changed = asyncio.Event()  # another generation, or the line is lost
        self._start = b""  # of the keys that are followed
        self._wait = _FIRST_RETRY
        self._task: asyncio.Task[None] | None = None

    def follow(self, generation: str) -> None:
        """Drop what is kept and follow the rows of this generation instead."""
        self._rows.switch(generation)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            with suppress(RedisError, OSError, TimeoutError):
                line = await open_line(self._pool, self._pushed, self._lost)
                try:
                    await self._stay(line)
                finally:
                    self._lost()
                    line.close()
            await asyncio.sleep(self._wait)
            self._wait = min(2 * self._wait, _LAST_RETRY)

    async def _stay(self, line: Line) -> None:
        """Follow each generation in turn until the line is lost."""
        await _send(line, "HELLO", "3")
        while line.usable:
            self._changed.clear()
            if not self._rows.trusted:
                await self._register(line, self._rows.generation)
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                await _send(line, "PING")

    async def _register(self, line: Line, generation: str) -> None:
        if self._start:
            await _send(line, "CLIENT", "TRACKING", "OFF")
        start = self._prefix(generation)
        await _send(line, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", start)
        self._start, self._wait = start.encode(), _FIRST_RETRY
        self._rows.trusted = generation == self._rows.generation and line.usable

    def _pushed(self, message: list[Any]) -> None:
        if message[0] != b"invalidate":
            return
        if message[1] is None:  # FLUSHALL
            self._rows.clear()
        elif self._rows.trusted:
            start = self._start
            self._rows.drop([key[len(start) :].decode(errors="replace") for key in message[1] if key.startswith(start)])

    def _lost(self) -> None:
        self._start = b""
        self._rows.distrust()
        self._changed.set()

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            await asyncio.sleep(0)  # the loop closes a socket in its next turn


async def _send(line: Line, *command: str) -> None:
    async with asyncio.timeout(BEAT_SECONDS):
        await line.send(pack_command(command))  # type: ignore[arg-type]
