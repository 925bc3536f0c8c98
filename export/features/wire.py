"""A connection to Redis whose bytes go out and come back in bulk, by a thread of its own.

redis-py connects, logs in and encrypts; its packing and its parsing of single replies would be most of our time.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from hiredis import Reader, pack_command
from redis import ConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

_SECONDS = 60.0  # without a byte from Redis, which may save or fork
_RECEIVE = 1 << 18


class Wire:
    """One connection, opened at once; RedisError where that fails. Commands are answered in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        connection: Any = ConnectionPool.from_url(
            url, protocol=2, socket_timeout=_SECONDS, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0),
            driver_info=None,
        ).make_connection()  # fmt: skip
        connection.connect()
        self._connection = connection
        self._reader = Reader(replyError=ResponseError)
        self._thread = ThreadPoolExecutor(1)

    @property
    def host(self) -> str:
        """Where it leads to."""
        return str(getattr(self._connection, "host", ""))

    def start(self, payload: bytes, count: int) -> Future[list[Any]]:
        """Send packed commands; the future holds their `count` replies, errors among them, or raises RedisError."""
        return self._thread.submit(self._exchange, payload, count)

    def ask(self, *words: str | bytes | int) -> Any:
        """The reply to one command; ResponseError where Redis refuses."""
        (reply,) = self.start(command(*words), 1).result()
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def _exchange(self, payload: bytes, count: int) -> list[Any]:
        try:
            self._connection._sock.sendall(payload)
            return [self._reply() for _ in range(count)]
        except OSError as error:
            raise RedisConnectionError(f"the connection was lost: {error or type(error).__name__}") from None

    def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            received = self._connection._sock.recv(_RECEIVE)
            if not received:
                raise RedisConnectionError("the connection was lost: closed by Redis")
            self._reader.feed(received)
        return reply

    def close(self) -> None:
        """Drop what was not sent, and disconnect."""
        self._thread.shutdown(cancel_futures=True)
        self._connection.disconnect()


def command(*words: str | bytes | int) -> bytes:
    """A packed command."""
    packed: bytes = pack_command(words)  # type: ignore[arg-type]
    return packed


def first_error(replies: Sequence[Any]) -> ResponseError | None:
    """The first refusal among replies."""
    return next((reply for reply in replies if isinstance(reply, ResponseError)), None)
