"""The nodes of a Redis Cluster: rows go to the owner of their slot, each node's on a connection of its own."""

from collections.abc import Callable, Sequence
from time import sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.exceptions import ClusterDownError, RedisError, ResponseError

from contract.cluster import SLOTS, Address, ClusterUrl, Redirection, owners, passing, slot, slots
from export.features import commands
from export.features.wire import Wire, command

_ATTEMPTS = 25  # while slots change hands: some twenty seconds, in which a replica takes over
_WAIT = 1.0  # seconds between them, at most


class Cluster:
    """As export.features.nodes.Nodes; opened at once, RedisError where no node answers."""

    def __init__(self, url: ClusterUrl) -> None:
        self._url = url
        self._wires: dict[str, Wire] = {}  # by URL
        self._addresses: list[Address | None] = []
        self._owner: NDArray[np.int64] = np.zeros(SLOTS, np.int64)  # place in `_addresses`
        self._ask_seeds()

    @property
    def wires(self) -> list[Wire]:
        """One to each primary."""
        self._ask_seeds()
        return [self._wire(address) for address in self._addresses if address is not None]

    def write(self, base: bytes, keys: Sequence[bytes], rows: Sequence[bytes], ttl: int | None) -> Callable[[], None]:
        """As Nodes says."""
        replies = self._start(slots(base, keys), commands.sets(base, keys, rows, ttl))
        return lambda: (replies(), None)[1]

    def read(self, base: bytes, keys: Sequence[bytes]) -> Callable[[], list[bytes | None]]:
        """As Nodes says."""
        return self._start(slots(base, keys), commands.gets(base, keys))

    def renew(self, base: bytes, keys: Sequence[bytes], ttl: int) -> Callable[[], None]:
        """As Nodes says."""
        replies = self._start(slots(base, keys), commands.expiries(base, keys, ttl))
        return lambda: (replies(), None)[1]

    def ask(self, name: str, key: str, *words: str | int) -> Any:
        """As Nodes says."""
        return self._start([slot(key.encode())], [command(name, key, *words)])()[0]

    def _start(self, places: Sequence[int], packed: Sequence[bytes]) -> Callable[[], list[Any]]:
        """Start single-key commands of these slots; what is returned waits for the replies, in order."""
        owner = self._owner[np.array(places, np.int64)]
        sent = []
        for node in np.unique(owner).tolist():
            of_node = np.flatnonzero(owner == node).tolist()
            wire = self._wire(self._known(node))
            sent.append((wire, of_node, wire.start(b"".join([packed[i] for i in of_node]), len(of_node))))

        def end() -> list[Any]:
            replies: list[Any] = [None] * len(packed)
            redirected: dict[int, Redirection | None] = {}
            for wire, of_node, future in sent:
                for i, reply in zip(of_node, future.result(), strict=True):
                    replies[i] = reply
                    if isinstance(reply, ResponseError):
                        redirected[i] = _redirection(reply, wire)
            return self._follow(packed, replies, redirected)

        return end

    def _follow(
        self, packed: Sequence[bytes], replies: list[Any], redirected: dict[int, Redirection | None]
    ) -> list[Any]:
        """Send again what was redirected, until nothing is; the last refusal is raised."""
        for attempt in range(_ATTEMPTS):
            if not redirected:
                return replies
            sleep(min(_WAIT, 0.02 * (2**attempt - 1)))
            self._learn(redirected)
            redirected = self._again(packed, replies, redirected)
        if redirected:
            raise replies[next(iter(redirected))]
        return replies

    def _again(
        self, packed: Sequence[bytes], replies: list[Any], redirected: dict[int, Redirection | None]
    ) -> dict[int, Redirection | None]:
        """Send each redirected command where it belongs; those that are redirected again."""
        sent = []
        by_place: dict[tuple[bool, Address | None], list[int]] = {}
        for i, to in redirected.items():
            by_place.setdefault((to.asking, to.address) if to else (False, None), []).append(i)
        for (asking, address), which in by_place.items():
            wire = self._wire(address or self._known(0))  # a passing refusal is sent anywhere, and redirected
            ask = command("ASKING") if asking else b""
            future = wire.start(b"".join([ask + packed[i] for i in which]), len(which) * (1 + asking))
            sent.append((wire, which, asking, future))
        left: dict[int, Redirection | None] = {}
        for wire, which, asking, future in sent:
            for i, reply in zip(which, future.result()[asking :: 1 + asking], strict=True):
                replies[i] = reply
                if isinstance(reply, ResponseError):
                    left[i] = _redirection(reply, wire)
        return left

    def _learn(self, redirected: dict[int, Redirection | None]) -> None:
        """Ask for the slots again: the node that was moved to knows best."""
        moved = next((to.address for to in redirected.values() if to is not None and not to.asking), None)
        if moved is None:
            self._ask_seeds()
        else:
            self._adopt(self._wire(moved))

    def _ask_seeds(self) -> None:
        last: RedisError | None = None
        for url in [*self._wires, *self._url.seeds]:
            try:
                self._adopt(self._wire_of(url))
                return
            except RedisError as error:
                last = error
        raise last or ClusterDownError("no node")

    def _adopt(self, wire: Wire) -> None:
        table = owners(wire.ask("CLUSTER", "SLOTS"), wire.host)
        self._addresses = list(dict.fromkeys(table))
        places = {address: place for place, address in enumerate(self._addresses)}
        self._owner = np.array([places[address] for address in table], np.int64)

    def _known(self, node: int) -> Address:
        address = self._addresses[node]
        if address is None:
            raise ClusterDownError("a slot is nobody's: the cluster is not whole")
        return address

    def _wire(self, address: Address) -> Wire:
        return self._wire_of(self._url.node(address))

    def _wire_of(self, url: str) -> Wire:
        if url not in self._wires:
            self._wires[url] = Wire(url)
        return self._wires[url]

    def close(self) -> None:
        """As Nodes says."""
        for wire in self._wires.values():
            wire.close()


def _redirection(error: ResponseError, wire: Wire) -> Redirection | None:
    """Where to, None if it may pass; raised where it is another error."""
    to = Redirection.parse(str(error), wire.host)
    if to is None and not passing(str(error)):
        raise error
    return to
