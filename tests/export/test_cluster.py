"""Feature rows in a real Redis Cluster: in the right place, also while slots change hands."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis.cluster import RedisCluster

import export.features.cluster as loader
import export.features.tables as tables
from contract.cluster import slot
from contract.errors import StoreError
from contract.rows import live_key, redis_key
from export.features import export_features
from export.features.generations import RETIRED_SECONDS
from tests.cluster import begin_move, clear, cluster, end_move, port_of, url_of
from tests.export.conftest import SCHEMA, write_prepared
from training.datasets.prepared import Prepared

FINGERPRINT = SCHEMA.fingerprint()
GENERATION = "a" * 12


@pytest.fixture(scope="module")
def _nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture
def nodes(_nodes: list[Any]) -> list[Any]:
    clear(_nodes)
    return _nodes


@pytest.fixture
def client(nodes: list[Any]) -> Iterator[Any]:
    with RedisCluster(host="127.0.0.1", port=port_of(nodes[0])) as client:
        yield client


def key(user: str, generation: str = GENERATION) -> str:
    return redis_key("twinscore", FINGERPRINT, generation, "u", user)


def owner(nodes: list[Any], place: int) -> Any:
    (port,) = (primary[1] for first, last, primary, *_ in nodes[0].execute_command("CLUSTER SLOTS")
               if first <= place <= last)  # fmt: skip
    return next(node for node in nodes if port_of(node) == port)


def test_every_row_lies_where_any_client_finds_it(prepared: Prepared, nodes: list[Any], client: Any) -> None:
    export_features(prepared.path, url_of(nodes))
    assert client.get(live_key("twinscore", FINGERPRINT)).decode() == GENERATION
    assert all(client.get(key(f"u{i}")) for i in range(30))
    assert min(node.dbsize() for node in nodes) > 0


def test_a_second_run_writes_nothing_and_a_lost_row_is_noticed(
    prepared: Prepared, nodes: list[Any], client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    export_features(prepared.path, url_of(nodes))
    export_features(prepared.path, url_of(nodes))
    assert "loaded already" in capsys.readouterr().out
    client.delete(key("u7"))
    export_features(prepared.path, url_of(nodes))
    assert client.get(key("u7"))


def test_rows_follow_slots_that_move_while_they_are_written(
    prepared: Prepared, nodes: list[Any], client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two users' slots one is handed over and one is on its way, after the loader has learnt who owns them."""
    moved, moving = slot(key("u3").encode()), slot(key("u9").encode())
    encode = tables.encode

    def moves(*arguments: Any) -> list[bytes]:
        if not done:
            done.append(owner(nodes, moved))
            begin_move(moved, done[0], other(done[0]))
            end_move(moved, done[0], other(done[0]))
            done.append(owner(nodes, moving))
            begin_move(moving, done[1], other(done[1]))
        return encode(*arguments)

    def other(node: Any) -> Any:
        return nodes[(nodes.index(node) + 1) % len(nodes)]

    done: list[Any] = []
    monkeypatch.setattr(tables, "encode", moves)
    export_features(prepared.path, url_of(nodes))
    assert other(done[0]).get(key("u3"))
    assert other(done[1]).execute_command("CLUSTER COUNTKEYSINSLOT", moving) == 1
    end_move(moving, done[1], other(done[1]))
    assert all(client.get(key(f"u{i}")) for i in range(30))


def test_a_run_cut_off_continues(
    prepared: Prepared, nodes: list[Any], client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "CHUNK", 10)
    encode, calls = tables.encode, 0

    def fails_at_the_third(*arguments: Any) -> list[bytes]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise StoreError("cut off")
        return encode(*arguments)

    monkeypatch.setattr(tables, "encode", fails_at_the_third)
    with pytest.raises(StoreError, match="cut off"):
        export_features(prepared.path, url_of(nodes))
    assert client.get(live_key("twinscore", FINGERPRINT)) is None
    calls = 10
    export_features(prepared.path, url_of(nodes))
    assert calls == 12  # the third chunk of users and the one of items
    assert all(client.get(key(f"u{i}")) for i in range(30))


def test_replaced_rows_expire_on_every_node(prepared: Prepared, nodes: list[Any], client: Any) -> None:
    export_features(prepared.path, url_of(nodes))
    newer = write_prepared(prepared.path.parent / "newer", digest="b" * 64, age=41)
    export_features(newer.path, url_of(nodes))
    assert all(0 < client.ttl(key(f"u{i}")) <= RETIRED_SECONDS for i in range(30))
    assert all(client.ttl(key(f"u{i}", "b" * 12)) == -1 for i in range(30))


def test_rows_of_a_cluster_expire_and_change_by_deltas(prepared: Prepared, nodes: list[Any], client: Any) -> None:
    export_features(prepared.path, url_of(nodes), ttl=1000)
    assert all(0 < client.ttl(key(f"u{i}")) <= 1000 for i in range(30))
    old = client.get(key("u3"))
    newer = write_prepared(prepared.path.parent / "newer", users=40, digest="b" * 64, age=41)
    export_features(newer.path, url_of(nodes), delta=True, ttl=2000)
    assert client.get(key("u3")) != old
    assert all(1000 < client.ttl(key(f"u{i}")) <= 2000 for i in range(40))


def test_a_cluster_of_which_a_slot_is_nobody_s_is_one_line(
    prepared: Prepared, nodes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_ATTEMPTS", 3)
    place = slot(key("u3").encode())
    node = owner(nodes, place)
    for each in nodes:
        each.execute_command("CLUSTER", "DELSLOTS", place)
    try:
        with pytest.raises(StoreError, match=r"Redis at redis\+cluster://.*: .*run the same command again"):
            export_features(prepared.path, url_of(nodes))
    finally:
        for each in nodes:
            each.execute_command("CLUSTER", "SETSLOT", place, "NODE", node.execute_command("CLUSTER MYID"))


def test_a_single_server_s_url_of_a_cluster_is_told(prepared: Prepared, nodes: list[Any]) -> None:
    place = slot(live_key("twinscore", FINGERPRINT).encode())
    stranger = next(node for node in nodes if node is not owner(nodes, place))
    with pytest.raises(StoreError, match=r"a node of a cluster; write redis\+cluster://host:port"):
        export_features(prepared.path, f"redis://127.0.0.1:{port_of(stranger)}")
