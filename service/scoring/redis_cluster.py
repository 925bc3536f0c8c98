"""Rows from a Redis Cluster: each node is asked for its keys at once, over a line that all requests share.

Slower than one server's MGET, and not of one moment: keys of different slots cannot be read by one command.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from hiredis import pack_command
from redis.asyncio import ConnectionPool
from redis.exceptions import ClusterDownError, RedisError, ResponseError

from contract.cluster import SLOTS, Address, ClusterUrl, Redirection, owners, slots
from service.scoring.redis_line import SharedLine

LEARN_SECONDS = 1.0  # between looks at who owns what
_ATTEMPTS = 5  # redirections of a key that are followed
_ASKING: bytes = pack_command(("ASKING",))
_WHO: bytes = pack_command(("CLUSTER", "SLOTS"))  # type: ignore[arg-type]
Target = tuple[Address, bool]  # and whether it must be told that it is asked for a slot on its way


class ClusterLine:
    """Reads keys of any node; who owns a slot is learnt by the first who reads, and from what nodes refuse."""

    def __init__(self, url: ClusterUrl, pool_of: Callable[[str], ConnectionPool]) -> None:
        self._url, self._pool_of = url, pool_of
        self._lines: dict[str, SharedLine] = {}  # by URL
        for seed in url.seeds:
            self._line(seed)  # a wrong one is told at once
        self._owners: list[Address | None] = []
        self._stale, self._learnt = True, -LEARN_SECONDS
        self._learning = asyncio.Lock()

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys; RedisError where a node is gone or a slot is nobody's."""
        if self._stale:
            await self._learn()
        packed: list[bytes] = [pack_command(("GET", key)) for key in keys]  # type: ignore[arg-type]
        places = slots(b"", [key.encode() for key in keys])
        replies: list[Any] = [None] * len(keys)
        wanted = _grouped((i, (self._owner(place), False)) for i, place in enumerate(places))
        for _ in range(_ATTEMPTS):
            asked = [self._ask(to, which, packed, replies) for to, which in wanted.items()]
            redirected = [pair for pairs in await asyncio.gather(*asked) for pair in pairs]
            if not redirected:
                return replies
            self._note(redirected, places)
            wanted = _grouped(redirected)
        raise ClusterDownError("slots change hands again and again")

    async def _ask(
        self, to: Target, which: Sequence[int], packed: Sequence[bytes], replies: list[Any]
    ) -> list[tuple[int, Target]]:
        """Ask one node for some keys and fill in its replies; those that it sends elsewhere."""
        address, asking = to
        ask = _ASKING if asking else b""
        try:
            got = await self._line(self._url.node(address)).send_many(
                b"".join([ask + packed[i] for i in which]), len(which) * (1 + asking)
            )
        except (RedisError, OSError):
            self._stale = True  # somebody else may own its slots by now
            raise
        redirected = []
        for i, reply in zip(which, got[asking :: 1 + asking], strict=True):
            replies[i] = reply
            if isinstance(reply, ResponseError):
                redirected.append((i, self._elsewhere(reply, address[0])))
        return redirected

    def _elsewhere(self, error: ResponseError, host: str) -> Target:
        to = Redirection.parse(str(error), host)
        if to is None:
            self._stale = True
            raise error
        return to.address, to.asking

    def _note(self, redirected: Sequence[tuple[int, Target]], places: Sequence[int]) -> None:
        for i, (address, asking) in redirected:
            if not asking:
                self._owners[places[i]] = address
                self._stale = True

    def _owner(self, place: int) -> Address:
        address = self._owners[place]
        if address is None:
            self._stale = True
            raise ClusterDownError("a slot is nobody's: the cluster is not whole")
        return address

    async def _learn(self) -> None:
        """Ask who owns what, any node that answers, not more than once a second."""
        async with self._learning:
            if self._owners and monotonic() < self._learnt + LEARN_SECONDS:
                return
            self._learnt, last = monotonic(), None
            for url in [*self._url.seeds, *self._lines]:
                try:
                    reply = await self._line(url).send(_WHO)
                except (RedisError, OSError) as error:
                    last = error
                    continue
                self._owners, self._stale = owners(reply, urlsplit(url).hostname or ""), False
                return
        raise last or ClusterDownError("no node answers")

    async def ping(self) -> None:
        """RedisError or OSError where a node does not answer, or the cluster is not whole."""
        if self._stale:
            await self._learn()
        nodes = {self._url.node(self._owner(place)) for place in range(SLOTS)}
        await asyncio.gather(*(self._line(url).send(pack_command(("PING",))) for url in nodes))

    def _line(self, url: str) -> SharedLine:
        if url not in self._lines:
            self._lines[url] = SharedLine(self._pool_of(url))
        return self._lines[url]

    async def close(self) -> None:
        """Close all lines."""
        for line in self._lines.values():
            await line.close()


def _grouped(targets: Iterable[tuple[int, Target]]) -> dict[Target, list[int]]:
    """Places of keys by where they are asked for."""
    grouped: dict[Target, list[int]] = {}
    for i, target in targets:
        grouped.setdefault(target, []).append(i)
    return grouped
