"""A Redis Cluster of real servers on 127.0.0.1, without replicas."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from contract.cluster import SLOTS
from contract.local_redis import _executable, _free_port

_SECONDS = 20.0  # to start, and to agree


@contextmanager
def server(folder: Path, port: int) -> Iterator[Any]:
    """One node, in no cluster yet; it ends with the block."""
    folder.mkdir()
    options = {"bind": "127.0.0.1", "port": str(port), "dir": str(folder), "save": "", "cluster-enabled": "yes"}
    arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([_executable(), *arguments], stdin=subprocess.DEVNULL, stdout=log)
    try:
        with Redis(port=port) as node:
            _until(lambda: _answers(node))
            yield node
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster(folder: Path, size: int = 3) -> Iterator[list[Any]]:
    """Nodes that share all slots evenly."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(server(folder / str(place), _cluster_port())) for place in range(size)]
        for place, node in enumerate(nodes):
            node.execute_command("CLUSTER", "ADDSLOTS", *range(place * SLOTS // size, (place + 1) * SLOTS // size))
            node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", port_of(nodes[0]))
        _until(lambda: all(_whole(node, size) for node in nodes))
        yield nodes


def port_of(node: Any) -> int:
    """Where it listens."""
    return int(node.connection_pool.connection_kwargs["port"])


def url_of(nodes: list[Any]) -> str:
    """The cluster's, naming its first node."""
    return f"redis+cluster://127.0.0.1:{port_of(nodes[0])}"


def clear(nodes: list[Any]) -> None:
    """Drop all keys."""
    for node in nodes:
        node.flushall()


def _cluster_port() -> int:
    """A free port, whose port of the cluster's own bus (10,000 above) there is too."""
    while (port := _free_port()) > 55_000:
        pass
    return port


def _answers(node: Redis) -> bool:
    try:
        return bool(node.ping())
    except RedisConnectionError:
        return False


def _whole(node: Any, size: int) -> bool:
    told = str(node.execute_command("CLUSTER", "INFO"))
    return "cluster_state:ok" in told and f"cluster_known_nodes:{size}" in told


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the cluster did not start"
        time.sleep(0.02)


def begin_move(slot: int, source: Any, target: Any) -> None:
    """Let a slot be on its way: keys that the source does not have are asked for at the target."""
    target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.execute_command("CLUSTER", "MYID"))
    source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.execute_command("CLUSTER", "MYID"))


def end_move(slot: int, source: Any, target: Any) -> None:
    """Carry the keys over, and let the target own the slot."""
    keys = source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10_000)
    if keys:
        source.execute_command("MIGRATE", "127.0.0.1", port_of(target), "", 0, 5000, "KEYS", *keys)
    for node in (target, source):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target.execute_command("CLUSTER", "MYID"))
