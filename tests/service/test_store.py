"""Redis behind /score: one generation a request, down, slow, corrupt, and back."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from contract.local_redis import private_redis
from contract.rows import redis_key
from service.scoring.store import Store
from service.settings import Settings
from tests.service.bundles import SCHEMA, expected
from tests.service.conftest import ITEMS, USERS, Bundles, Client, load_rows, make_live, running

BODY: dict[str, Any] = {"user": {"id": "u1"}, "item_ids": list(ITEMS), "arm": "ple"}


def test_a_switch_of_tables_is_seen_by_the_next_request(client: Client, bundles: Bundles, redis: Redis) -> None:
    graph = bundles.graphs["ple"]
    client.score(BODY)
    users = {"u1": {"gender": "m", "age": -3.0}}
    items = {key: item | {"price": 9.0} for key, item in ITEMS.items()}
    load_rows(redis, "g2", users, items)
    before = client.score(BODY)[1]["scores"]["ctr"]
    np.testing.assert_allclose(before, expected(graph, USERS["u1"], {}, list(ITEMS.values()))["ctr"], atol=1e-5)
    make_live(redis, "g2")
    for key in redis.scan_iter(match="*:g1:*"):  # what is retired is gone at once: nobody may still need it
        redis.delete(key)
    after = client.score(BODY)[1]
    np.testing.assert_allclose(
        after["scores"]["ctr"], expected(graph, users["u1"], {}, list(items.values()))["ctr"], atol=1e-5
    )
    assert after["degraded"] == []
    assert client.metric('twinscore_missing_rows_total{side="item"}') == 0


def test_no_request_mixes_generations_while_tables_switch(redis_address: str, redis: Redis) -> None:
    """Rows say which generation they are of; a writer switches as fast as it can while readers read."""
    fingerprint, keys = SCHEMA.fingerprint(), [f"k{i}" for i in range(50)]
    for generation in ("g1", "g2"):
        rows = {redis_key("twinscore", fingerprint, generation, "i", key): generation for key in keys}
        redis.mset(rows | {redis_key("twinscore", fingerprint, generation, "u", "u"): generation})
    stop = threading.Event()

    def switch() -> None:
        with Redis.from_url(redis_address) as other:
            while not stop.is_set():
                for generation in ("g1", "g2"):
                    make_live(other, generation)

    async def read() -> set[bytes | None]:
        store = Store(redis_address, "twinscore", 5000)
        try:
            seen: set[bytes | None] = set()
            for _ in range(60):
                for stored in await asyncio.gather(*(store.fetch(fingerprint, "u", keys) for _ in range(5))):
                    assert stored.degraded is None
                    assert {stored.user, *stored.items} == {stored.user}
                    seen.add(stored.user)
            return seen
        finally:
            await store.close()

    writer = threading.Thread(target=switch)
    writer.start()
    try:
        assert asyncio.run(read()) == {b"g1", b"g2"}
    finally:
        stop.set()
        writer.join()


def test_corrupt_rows_count_as_missing_and_as_corrupt(client: Client, bundles: Bundles, redis: Redis) -> None:
    fingerprint = SCHEMA.fingerprint()
    redis.set(redis_key("twinscore", fingerprint, "g1", "i", "i1"), b"short")
    redis.setrange(redis_key("twinscore", fingerprint, "g1", "i", "i2"), 1, b"\xff")
    redis.set(redis_key("twinscore", fingerprint, "g1", "u", "u1"), b"")
    status, reply = client.score({"user": {"id": "u1"}, "item_ids": ["i1", "i2", "i3"], "arm": "ple"})
    assert status == 200
    wanted = expected(bundles.graphs["ple"], {}, {}, [{}, {}, ITEMS["i3"]])
    np.testing.assert_allclose(reply["scores"]["ctr"], wanted["ctr"], atol=1e-5)
    for metric in ("missing", "corrupt"):
        assert client.metric(f'twinscore_{metric}_rows_total{{side="user"}}') == 1
        assert client.metric(f'twinscore_{metric}_rows_total{{side="item"}}') == 2


def test_tables_that_were_never_loaded_are_said_so(client: Client, redis: Redis) -> None:
    redis.flushall()
    status, reply = client.score(BODY)
    assert (status, reply["degraded"]) == (200, ["features:not-loaded"])
    load_rows(redis, "g3", USERS, ITEMS)
    make_live(redis, "g3")
    assert client.score(BODY)[1]["degraded"] == []


@pytest.fixture
def own_redis(tmp_path: Path) -> Path:
    """A folder for a server that a test starts and stops itself."""
    folder = tmp_path / "r"
    folder.mkdir()
    return folder


def test_redis_down_degrades_and_comes_back_by_itself(settings: Settings, bundles: Bundles, own_redis: Path) -> None:
    server = private_redis(own_redis)
    url = server.__enter__()
    with Redis.from_url(url) as redis:
        load_rows(redis, "g1", USERS, ITEMS)
        make_live(redis, "g1")
    with running(settings.model_copy(update={"redis_url": url})) as client:
        well = client.score(BODY)[1]
        assert well["degraded"] == []
        assert client.get("/readyz").status_code == 200
        server.__exit__(None, None, None)
        for _ in range(3):
            status, reply = client.score(BODY)
            assert (status, reply["degraded"]) == (200, ["features:redis-unavailable"])
            wanted = expected(bundles.graphs["ple"], {}, {}, [{} for _ in ITEMS])
            np.testing.assert_allclose(reply["scores"]["ctr"], wanted["ctr"], atol=1e-5)
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["redis"]["ok"] is False
        assert ready.json()["checks"]["bundles"]["ok"] is True
        assert client.get("/livez").status_code == 200
        assert client.metric('twinscore_degraded_total{reason="features:redis-unavailable"}') == 3
        assert client.metric('twinscore_missing_rows_total{side="item"}') == 0
        with private_redis(own_redis):  # its data was saved
            assert client.score(BODY)[1]["scores"] == well["scores"]
            assert client.get("/readyz").status_code == 200


def test_a_slow_redis_costs_the_timeout_and_no_more(settings: Settings, redis: Redis) -> None:
    with running(settings.model_copy(update={"redis_timeout_ms": 300})) as client:
        assert client.score(BODY)[1]["degraded"] == []
        redis.client_pause(2000)
        started = time.monotonic()
        status, reply = client.score(BODY)
        assert 0.3 <= time.monotonic() - started < 1.5
        assert (status, reply["degraded"]) == (200, ["features:redis-timeout"])
        redis.ping()  # answered when the pause is over
        status, reply = client.score(BODY)
        assert (status, reply["degraded"]) == (200, [])


def test_a_busy_loop_is_not_a_slow_redis(redis_address: str, redis: Redis) -> None:
    async def fetch_while_the_loop_is_busy() -> str | None:
        store = Store(redis_address, "twinscore", 50)
        try:
            await store.ping()
            fetching = asyncio.create_task(store.fetch(SCHEMA.fingerprint(), "u1", ["i1"]))
            await asyncio.sleep(0)  # it sends its command
            time.sleep(0.3)  # six times the timeout, in which Redis answers
            return (await fetching).degraded
        finally:
            await store.close()

    assert asyncio.run(fetch_while_the_loop_is_busy()) is None


def test_a_redis_that_never_answers_keeps_readiness_bounded(settings: Settings, redis: Redis) -> None:
    with running(settings) as client:
        redis.client_pause(1300)
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["checks"]["redis"]["detail"] == "no answer within 1 s"
