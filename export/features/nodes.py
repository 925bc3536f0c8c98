"""Where rows go: one server, or the nodes of a cluster."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from contract.cluster import ClusterUrl
from export.features import commands
from export.features.cluster import Cluster
from export.features.wire import Wire, first_error

Value = bytes | None


class Nodes(Protocol):
    """What both can do. A call that starts returns what waits for its end; RedisError where Redis refuses or is gone.

    All keys of a call start with `base`.
    """

    @property
    def wires(self) -> Sequence[Wire]:
        """One to each server that holds keys."""
        ...

    def write(self, base: bytes, keys: Sequence[bytes], rows: Sequence[bytes], ttl: int | None) -> Callable[[], None]:
        """Start to set rows; they expire after `ttl` seconds."""
        ...

    def read(self, base: bytes, keys: Sequence[bytes]) -> Callable[[], list[Value]]:
        """Start to read rows; None where absent."""
        ...

    def renew(self, base: bytes, keys: Sequence[bytes], ttl: int) -> Callable[[], None]:
        """Start to set when rows expire that are there."""
        ...

    def ask(self, name: str, key: str, *words: str | int) -> Any:
        """The reply to one command of one key."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class Server:
    """One Redis server: grouped commands, one connection."""

    def __init__(self, url: str) -> None:
        self._wire = Wire(url)
        self.wires = (self._wire,)

    def write(self, base: bytes, keys: Sequence[bytes], rows: Sequence[bytes], ttl: int | None) -> Callable[[], None]:
        """As Nodes says."""
        packed = commands.msets(base, keys, rows) if ttl is None else commands.sets(base, keys, rows, ttl)
        replies = self._start(packed)
        return lambda: (replies(), None)[1]

    def read(self, base: bytes, keys: Sequence[bytes]) -> Callable[[], list[Value]]:
        """As Nodes says."""
        groups = cast(Callable[[], list[list[Value]]], self._start(commands.mgets(base, keys)))
        return lambda: [row for group in groups() for row in group]

    def renew(self, base: bytes, keys: Sequence[bytes], ttl: int) -> Callable[[], None]:
        """As Nodes says."""
        replies = self._start(commands.expiries(base, keys, ttl))
        return lambda: (replies(), None)[1]

    def ask(self, name: str, key: str, *words: str | int) -> Any:
        """As Nodes says."""
        return self._wire.ask(name, key, *words)

    def _start(self, packed: Sequence[bytes]) -> Callable[[], list[Any]]:
        future = self._wire.start(b"".join(packed), len(packed))

        def end() -> list[Any]:
            replies = future.result()
            if error := first_error(replies):
                raise error
            return replies

        return end

    def close(self) -> None:
        """As Nodes says."""
        self._wire.close()


def connect(url: str) -> Nodes:
    """The nodes of a URL; RedisError where there are none, ValueError where it cannot be read."""
    cluster = ClusterUrl.parse(url)
    return Server(url) if cluster is None else Cluster(cluster)
