"""A Redis stream: one entry a record, field `r`, over a connection of its own.

A stopped server is given up after `_SECONDS`; what it reads later of the old connection are records that come twice.
"""

import asyncio
from collections.abc import Sequence

from hiredis import Reader, pack_command
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from service.experiments.log.sinks import Line, SinkDown

_SECONDS = 1.0  # to connect, and for a batch
_READ_BYTES = 1 << 16


class RedisSink:
    """Appends to a stream of about `length` entries. ValueError where the URL is none."""

    def __init__(self, name: str, url: str, key: str, length: int) -> None:
        self.name = name
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=_SECONDS,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
        self._connection: AbstractConnection | None = None
        # packed once up to the record itself: packing each command whole would double the loop's share
        empty = pack_command(("XADD", key, "MAXLEN", "~", str(length), "*", "r", b""))  # type: ignore[arg-type]
        self._head = empty.removesuffix(b"$0\r\n\r\n")

    async def write(self, batch: Sequence[Line]) -> None:
        """All in one write; return when Redis has answered all."""
        head = self._head
        commands = b"".join([b"%b$%d\r\n%b\r\n" % (head, len(line.text), line.text) for line in batch])
        try:
            async with asyncio.timeout(_SECONDS):
                await self._send(commands, len(batch))
        except TimeoutError:
            await self.close()
            raise SinkDown(f"no answer within {_SECONDS:g} s") from None
        except (RedisError, OSError) as error:
            await self.close()
            raise SinkDown(" ".join(str(error).split()) or type(error).__name__) from None
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _send(self, commands: bytes, replies: int) -> None:
        if self._connection is None:
            self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            await self._connection.connect()
        stream, reader = self._connection._reader, Reader(replyError=ResponseError)
        self._connection._writer.write(commands)  # type: ignore[union-attr]
        while replies:
            received = await stream.read(_READ_BYTES)  # type: ignore[union-attr]
            if not received:
                raise ConnectionResetError("the connection was closed by Redis")
            reader.feed(received)
            while (reply := reader.gets()) is not False:
                if isinstance(reply, ResponseError):
                    raise reply
                replies -= 1

    async def close(self) -> None:
        """Close the connection; the next batch opens another."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection._writer is not None:
            connection._writer.transport.abort()  # `close` would hold on to what a stopped server has not read
        await connection.disconnect(nowait=True)
