"""Feature rows in a real Redis Cluster behind /score: the same scores, also while slots change hands."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from redis.cluster import RedisCluster

from contract.cluster import slot
from contract.errors import ConfigError
from contract.rows import redis_key
from service.scoring import redis_cluster
from service.scoring.store import UNAVAILABLE, Store
from service.settings import Settings
from tests.cluster import begin_move, clear, cluster, end_move, port_of, url_of
from tests.service.bundles import SCHEMA, expected
from tests.service.conftest import ITEMS, USERS, Bundles, load_rows, make_live, running

BODY: dict[str, Any] = {"user": {"id": "u1"}, "item_ids": [*ITEMS, "unknown"], "arm": "ple"}
FINGERPRINT = SCHEMA.fingerprint()


@pytest.fixture(scope="module")
def _nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture
def nodes(_nodes: list[Any]) -> list[Any]:
    clear(_nodes)
    with RedisCluster(host="127.0.0.1", port=port_of(_nodes[0])) as client:
        load_rows(client, "g1", USERS, ITEMS)
        make_live(client, "g1")
    return _nodes


@pytest.fixture
def clustered(settings: Settings, nodes: list[Any]) -> Settings:
    return settings.model_copy(update={"features_url": url_of(nodes)})


def key(item: str) -> str:
    return redis_key("twinscore", FINGERPRINT, "g1", "i", item)


def owner(nodes: list[Any], place: int) -> Any:
    slots = nodes[0].execute_command("CLUSTER SLOTS")
    (port,) = (primary[1] for first, last, primary, *_ in slots if first <= place <= last)
    return next(node for node in nodes if port_of(node) == port)


def other(nodes: list[Any], node: Any) -> Any:
    return nodes[(nodes.index(node) + 1) % len(nodes)]


def test_scores_are_those_of_one_server(clustered: Settings, bundles: Bundles, nodes: list[Any]) -> None:
    with running(clustered) as client:
        wanted = expected(bundles.graphs["ple"], USERS["u1"], {}, [*ITEMS.values(), {}])["ctr"]
        for _ in range(2):
            status, reply = client.score(BODY)
            assert (status, reply["degraded"]) == (200, [])
            np.testing.assert_allclose(reply["scores"]["ctr"], wanted, atol=1e-5)
        assert client.metric('twinscore_missing_rows_total{side="item"}') == 2
        assert client.get("/readyz").status_code == 200


def test_a_switch_of_tables_is_seen_by_the_next_request(
    clustered: Settings, bundles: Bundles, nodes: list[Any]
) -> None:
    with running(clustered) as client, RedisCluster(host="127.0.0.1", port=port_of(nodes[0])) as writer:
        client.score(BODY)
        users = {"u1": {"gender": "m", "age": -3.0}}
        load_rows(writer, "g2", users, ITEMS)
        make_live(writer, "g2")
        wanted = expected(bundles.graphs["ple"], users["u1"], {}, [*ITEMS.values(), {}])["ctr"]
        np.testing.assert_allclose(client.score(BODY)[1]["scores"]["ctr"], wanted, atol=1e-5)


def test_reads_follow_slots_that_move(nodes: list[Any], redis_address: str) -> None:
    """One slot is handed over and one is on its way, its key there already, after a first request."""
    moved, moving = slot(key("i3").encode()), slot(key("i9").encode())
    of_moved, of_moving = owner(nodes, moved), owner(nodes, moving)

    async def job() -> None:
        store = Store(redis_address, "twinscore", 5000, url_of(nodes))
        try:
            first = await store.fetch(FINGERPRINT, "u1", list(ITEMS))
            assert None not in first.items
            begin_move(moved, of_moved, other(nodes, of_moved))
            end_move(moved, of_moved, other(nodes, of_moved))
            begin_move(moving, of_moving, other(nodes, of_moving))
            of_moving.migrate("127.0.0.1", port_of(other(nodes, of_moving)), key("i9"), 0, 5000)
            for _ in range(3):
                assert await store.fetch(FINGERPRINT, "u1", list(ITEMS)) == first
        finally:
            await store.close()

    try:
        asyncio.run(job())
    finally:
        end_move(moving, of_moving, other(nodes, of_moving))


def test_a_node_that_hangs_degrades_and_comes_back(clustered: Settings, nodes: list[Any]) -> None:
    pid = int(nodes[2].info("server")["process_id"])
    with running(clustered.model_copy(update={"redis_timeout_ms": 200})) as client:
        assert client.score(BODY)[1]["degraded"] == []
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            status, reply = client.score(BODY)
            assert (status, reply["degraded"]) == (200, ["features:redis-timeout"])
            assert time.monotonic() - started < 1.5
            assert client.get("/readyz").status_code == 503
        finally:
            os.kill(pid, signal.SIGCONT)
        assert client.score(BODY)[1]["degraded"] == []


def test_a_slot_that_is_nobody_s_degrades_until_it_has_an_owner(
    nodes: list[Any], redis_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_cluster, "LEARN_SECONDS", 0.0)
    place = slot(key("i3").encode())
    node = owner(nodes, place)

    async def job() -> None:
        store = Store(redis_address, "twinscore", 5000, url_of(nodes))
        try:
            assert (await store.fetch(FINGERPRINT, "u1", ["i3"])).degraded is None
            for each in nodes:
                each.execute_command("CLUSTER", "DELSLOTS", place)
            assert (await store.fetch(FINGERPRINT, "u1", ["i3"])).degraded == UNAVAILABLE
            assert await store.ping() is not None
            for each in nodes:
                each.execute_command("CLUSTER", "SETSLOT", place, "NODE", node.execute_command("CLUSTER MYID"))
            deadline = time.monotonic() + 5
            while (await store.fetch(FINGERPRINT, "u1", ["i3"])).degraded and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            assert (await store.fetch(FINGERPRINT, "u1", ["i3"])).degraded is None
        finally:
            await store.close()

    asyncio.run(job())


@pytest.mark.parametrize(
    ("settings_of", "message"),
    [
        (("redis+cluster://a:1", None), "REDIS_URL: a cluster can hold feature rows alone; set TWINSCORE_FEATURES_URL"),
        (("redis://a:1", "redis+cluster://a:1/3"), r"TWINSCORE_FEATURES_URL: write redis\+cluster://host:port"),
        (("redis://a:1", "http://a:1"), "TWINSCORE_FEATURES_URL: Redis URL must"),
    ],
)
def test_a_wrong_url_names_its_setting(settings_of: tuple[str, str | None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Store(settings_of[0], "twinscore", 50, settings_of[1])
