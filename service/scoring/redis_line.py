"""A connection to Redis that many requests share: commands go out at once, replies come back in order.

redis-py connects, authenticates and encrypts; from then on the transport is ours, which costs a third of the time
that its own connections take a command.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import repeat
from typing import Any

from hiredis import HiredisError, PushNotification, Reader
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

OPEN_SECONDS = 2.0  # to connect and to log in
_ATTEMPTS = 2  # a line that Redis closed while idle is noticed only by the next command


class Line(asyncio.Protocol):
    """One connection. `on_push` gets what comes unasked, `on_lost` is called once when it is gone."""

    def __init__(
        self,
        connection: AbstractConnection,
        on_push: Callable[[list[Any]], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._connection, self._on_push, self._on_lost = connection, on_push, on_lost
        self._reader = Reader(replyError=ResponseError)
        self._waiting: deque[asyncio.Future[Any] | _Several] = deque()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = connection._writer.transport  # type: ignore[union-attr, assignment]
        self._transport.set_protocol(self)
        self.usable = not self._transport.is_closing()

    async def send(self, command: bytes) -> Any:
        """The reply to a packed command; ResponseError where Redis refuses, ConnectionError where the line is lost."""
        if not self.usable:
            raise RedisConnectionError("the connection is closed")
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(reply)
        self._transport.write(command)
        try:
            return await reply
        except asyncio.CancelledError:  # too late: whoever comes next should not wait behind it
            self.retire()
            raise

    async def send_many(self, commands: bytes, count: int) -> list[Any]:
        """The replies to so many packed commands, refusals among them; ConnectionError where the line is lost."""
        if not self.usable:
            raise RedisConnectionError("the connection is closed")
        several = _Several(self._loop.create_future(), count)
        self._waiting.extend(repeat(several, count))
        self._transport.write(commands)
        try:
            return await several.replies
        except asyncio.CancelledError:
            self.retire()
            raise

    def retire(self) -> None:
        """Take no more commands; close once nobody waits."""
        self.usable = False
        if all(reply.done() for reply in self._waiting):
            self.close()

    def close(self) -> None:
        """Close now."""
        self.usable = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait, in order."""
        try:
            self._reader.feed(data)
            while (message := self._reader.gets()) is not False:
                self._deliver(message)
        except HiredisError:
            self.close()  # not in step with Redis any more
            return
        if not self.usable:
            self.retire()

    def _deliver(self, message: Any) -> None:
        if isinstance(message, PushNotification):
            if self._on_push is not None:
                self._on_push(message)
            return
        if not self._waiting:
            raise HiredisError("a reply that nobody asked for")
        reply = self._waiting.popleft()
        if reply.done():
            return
        if isinstance(message, ResponseError):
            reply.set_exception(message)
        else:
            reply.set_result(message)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell all who wait."""
        self.usable = False
        self._connection._writer = self._connection._reader = None  # redis-py need not close it again
        for reply in self._waiting:
            if not reply.done():
                reply.set_exception(RedisConnectionError(f"the connection was lost: {error or 'closed by Redis'}"))
        self._waiting.clear()
        if self._on_lost is not None:
            self._on_lost()


class _Several:
    """Waits in a line, as a future does, for one of `count` replies; has them all in the end."""

    def __init__(self, replies: asyncio.Future[list[Any]], count: int) -> None:
        self.replies, self._count = replies, count
        self._got: list[Any] = []

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self.replies.done()

    def set_result(self, reply: Any) -> None:
        """One reply more."""
        self._got.append(reply)
        if len(self._got) == self._count:
            self.replies.set_result(self._got)

    def set_exception(self, error: Exception) -> None:
        """A refusal is a reply too; without the line there are no more."""
        if isinstance(error, ResponseError):
            self.set_result(error)
        else:
            self.replies.set_exception(error)


class SharedLine:
    """The line of all requests, opened by the first and again by the first after it was lost."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._line: Line | None = None
        self._opening: asyncio.Task[Line] | None = None

    async def send(self, command: bytes) -> Any:
        """The reply to a packed command that may be sent twice."""
        for attempt in range(_ATTEMPTS):
            line = await self._usable()
            try:
                return await line.send(command)
            except RedisConnectionError:
                if attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def send_many(self, commands: bytes, count: int) -> list[Any]:
        """The replies to packed commands that may be sent twice, refusals among them."""
        for attempt in range(_ATTEMPTS):
            line = await self._usable()
            try:
                return await line.send_many(commands, count)
            except RedisConnectionError:
                if attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def _usable(self) -> Line:
        if self._line is not None and self._line.usable:
            return self._line
        if self._opening is None:
            self._opening = asyncio.create_task(open_line(self._pool))
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)  # others wait for it too

    def _opened(self, opening: asyncio.Task[Line]) -> None:
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self._line = opening.result()

    async def close(self) -> None:
        """Close the line; nothing is sent hereafter."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._line is not None:
            self._line.close()
        await asyncio.sleep(0)  # the loop closes a socket in its next turn


async def open_line(
    pool: ConnectionPool,
    on_push: Callable[[list[Any]], None] | None = None,
    on_lost: Callable[[], None] | None = None,
) -> Line:
    """A new line to the pool's Redis; RedisError or OSError where there is none."""
    connection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return Line(connection, on_push, on_lost)
