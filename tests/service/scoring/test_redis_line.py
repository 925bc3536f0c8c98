"""One connection for all requests: order, lateness, loss."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hiredis import pack_command
from redis import Redis
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError, ResponseError

from service.scoring import redis_line
from service.scoring.redis_line import SharedLine


def command(*words: str) -> bytes:
    """A packed command."""
    packed: bytes = pack_command(words)  # type: ignore[arg-type]
    return packed


def with_line(url: str, job: Callable[[SharedLine], Awaitable[None]]) -> None:
    """Run a job with a line of its own."""

    async def main() -> None:
        pool = ConnectionPool.from_url(url, protocol=2, driver_info=None, socket_connect_timeout=1)
        line = SharedLine(pool)
        try:
            await job(line)
        finally:
            await line.close()
            await pool.disconnect()

    asyncio.run(main())


def own_connections(redis: Redis) -> list[str]:
    """Connections beside the one that asks."""
    clients: Any = redis.client_list()
    return [client["id"] for client in clients if client["id"] != str(redis.client_id())]


def test_many_share_one_connection_and_each_gets_its_reply(redis_address: str, redis: Redis) -> None:
    before = len(own_connections(redis))

    async def job(line: SharedLine) -> None:
        texts = [f"{n}" * (n * 1000) for n in range(1, 60)]
        replies = await asyncio.gather(*(line.send(command("ECHO", text)) for text in texts))
        assert [reply.decode() for reply in replies] == texts
        assert len(own_connections(redis)) == before + 1

    with_line(redis_address, job)


def test_a_refusal_is_one_command_s(redis_address: str, redis: Redis) -> None:
    async def job(line: SharedLine) -> None:
        sent = [line.send(command(*words)) for words in (("PING",), ("NONSENSE",), ("ECHO", "a"))]
        first, refused, last = await asyncio.gather(*sent, return_exceptions=True)
        assert (first, last) == (b"PONG", b"a")
        assert isinstance(refused, ResponseError)

    with_line(redis_address, job)


def test_nobody_waits_behind_one_who_gave_up(redis_address: str, redis: Redis) -> None:
    async def job(line: SharedLine) -> None:
        await line.send(command("PING"))
        (first,) = set(own_connections(redis)) - before
        slow = asyncio.create_task(line.send(command("BLPOP", "nothing", "0.5")))
        behind = asyncio.create_task(line.send(command("ECHO", "behind")))
        await asyncio.sleep(0.05)
        slow.cancel()
        await asyncio.sleep(0)
        async with asyncio.timeout(0.3):
            assert await line.send(command("ECHO", "after")) == b"after"  # on another connection
        await asyncio.sleep(0.05)
        assert not behind.done()
        assert await behind == b"behind"  # not torn down with the first
        await asyncio.sleep(0.05)
        (second,) = set(own_connections(redis)) - before
        assert second != first

    before = set(own_connections(redis))
    with_line(redis_address, job)


def test_a_connection_closed_while_idle_is_opened_again(redis_address: str, redis: Redis) -> None:
    async def job(line: SharedLine) -> None:
        await line.send(command("PING"))
        redis.client_kill_filter(skipme=True, _type="normal")  # the loop has not heard of it yet
        assert await line.send(command("ECHO", "a")) == b"a"

    with_line(redis_address, job)


def test_loss_and_absence_are_said_at_once() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()  # until the other end hangs up
        writer.close()

    async def job() -> None:
        async with await asyncio.start_server(garbage, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            pool = ConnectionPool.from_url(f"redis://127.0.0.1:{port}", protocol=2, driver_info=None)
            line = SharedLine(pool)
            async with asyncio.timeout(2):
                with pytest.raises((RedisError, OSError)):
                    await line.send(command("PING"))
            await line.close()
        async with asyncio.timeout(2):
            with pytest.raises((RedisError, OSError)):
                await SharedLine(pool).send(command("PING"))

    asyncio.run(job())


def test_a_login_without_an_answer_does_not_last_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_line, "OPEN_SECONDS", 0.1)
    logins = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal logins
        logins += 1
        await reader.read()
        writer.close()

    async def job() -> None:
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            line = SharedLine(ConnectionPool.from_url(f"redis://:secret@127.0.0.1:{port}", driver_info=None))
            for count in (1, 2):
                async with asyncio.timeout(2):
                    with pytest.raises(TimeoutError):
                        await line.send(command("PING"))
                assert logins == count
            await line.close()

    asyncio.run(job())


def test_one_who_gives_up_does_not_stop_the_opening(redis_address: str, redis: Redis) -> None:
    async def job(line: SharedLine) -> None:
        both = [asyncio.create_task(line.send(command("PING"))) for _ in range(2)]
        await asyncio.sleep(0)
        both[0].cancel()
        assert await both[1] == b"PONG"

    with_line(redis_address, job)
