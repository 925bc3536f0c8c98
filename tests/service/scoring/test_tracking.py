"""Item rows that change in Redis change in the service, whatever happens to the connection that tells of it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from contract.local_redis import private_redis
from contract.rows import layout, redis_key
from contract.schema import Schema, Side
from service.metrics import Metrics
from service.scoring import tracking
from service.scoring.item_rows import Found
from service.scoring.store import UNAVAILABLE, Store
from service.settings import Settings
from tests.service.bundles import SCHEMA, dictionaries, encode, expected
from tests.service.conftest import ITEMS, USERS, Bundles, Client, load_rows, make_live

SECONDS = 5.0  # within which a change must be seen here; the usual is a millisecond
OTHER = SCHEMA.model_copy(update={"fields": SCHEMA.fields[1:]})
LAYOUT = layout(SCHEMA, dictionaries(), Side.ITEM)


def put(redis: Redis, item: str, price: float, generation: str = "g1", schema: Schema = SCHEMA) -> None:
    """Write one item row."""
    shape = LAYOUT if schema is SCHEMA else layout(schema, dictionaries(schema), Side.ITEM)
    row = shape.encode(*encode(schema, (Side.ITEM,), [{"category": "w", "price": price}]))[0]
    redis.set(redis_key("twinscore", schema.fingerprint(), generation, "i", item), row)


def remove(redis: Redis, item: str) -> None:
    """Delete one item row."""
    redis.delete(redis_key("twinscore", SCHEMA.fingerprint(), "g1", "i", item))


def trackers(redis: Redis) -> list[str]:
    """Connections that are told of changes."""
    clients: Any = redis.client_list()
    return [client["id"] for client in clients if "t" in client["flags"]]


class Reader:
    """A store that keeps item rows, and what it counted."""

    def __init__(self, url: str, *schemas: Schema) -> None:
        self.store, self.metrics = Store(url, "twinscore", 5000), Metrics()
        self.schemas = schemas or (SCHEMA,)
        for schema in self.schemas:
            shape = layout(schema, dictionaries(schema), Side.ITEM)
            self.store.keep_items(schema.fingerprint(), shape, Settings(), self.metrics)

    async def read(self, *items: str, schema: Schema = SCHEMA) -> Found:
        """One request."""
        found = (await self.store.fetch(schema.fingerprint(), None, items)).found
        assert found is not None
        return found

    async def price(self, item: str, schema: Schema = SCHEMA) -> float | None:
        """One item's price; None where the row is absent."""
        found = await self.read(item, schema=schema)
        return None if found.missing[0] else round(float(found.dense[0, 0]), 6)

    def sample(self, name: str, **labels: str) -> float:
        """One of the item cache's metrics."""
        return self.metrics.registry.get_sample_value(f"twinscore_item_cache_{name}", labels) or 0.0

    def followed(self, schema: Schema = SCHEMA) -> bool:
        """Whether changes are heard of."""
        return self.sample("followed", schema=schema.fingerprint()[:8]) == 1

    def misses(self) -> float:
        """Rows read from Redis so far."""
        return self.sample("misses_total")

    async def warm(self) -> None:
        """Wait until rows are kept."""
        for schema in self.schemas:
            await self.read("none", schema=schema)
            await until(partial(self.followed, schema))


async def until(true: Any) -> None:
    """Wait for something, for SECONDS at most; `true` is a function or an async one."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = true()
            if await answer if isinstance(answer, Coroutine) else answer:
                return
            await asyncio.sleep(0.001)


@asynccontextmanager
async def reader(url: str, *schemas: Schema) -> AsyncIterator[Reader]:
    """A reader that follows its schemas."""
    reading = Reader(url, *schemas)
    try:
        await reading.warm()
        yield reading
    finally:
        await reading.store.close()


async def sees(reading: Reader, item: str, price: float | None, schema: Schema = SCHEMA) -> None:
    """Wait until an item has this price, and is kept: Redis may tell of a change after the new row was read."""

    async def kept() -> bool:
        before = reading.misses()
        return await reading.price(item, schema) == price and reading.misses() == before

    await until(kept)


def test_changed_deleted_and_new_rows_are_seen(redis_address: str, redis: Redis) -> None:
    async def job() -> None:
        async with reader(redis_address) as reading:
            await sees(reading, "i3", 0.3)
            await sees(reading, "new", None)
            put(redis, "i3", 7)
            await sees(reading, "i3", 7)
            remove(redis, "i3")
            await sees(reading, "i3", None)
            put(redis, "new", 8)
            await sees(reading, "new", 8)
            put(redis, "i1", 9, generation="g0")  # not what is served
            put(redis, "größe : 日本", 5)
            await sees(reading, "größe : 日本", 5)
            put(redis, "größe : 日本", 6)
            await sees(reading, "größe : 日本", 6)
            assert reading.sample("invalidations_total") >= 4

    asyncio.run(job())


def test_kept_rows_are_not_asked_for(redis_address: str, redis: Redis) -> None:
    async def job() -> None:
        async with reader(redis_address) as reading:
            await reading.read(*ITEMS)
            hits, misses = reading.sample("hits_total"), reading.misses()
            redis.config_resetstat()
            found = await reading.read(*ITEMS)
            assert (reading.sample("hits_total"), reading.misses()) == (hits + len(ITEMS), misses)
            commands: Any = redis.info("commandstats")
            assert commands["cmdstat_mget"]["calls"] == 1
            stats: Any = redis.info("stats")
            assert stats["keyspace_hits"] + stats["keyspace_misses"] == 1  # the live generation
            assert not found.missing.any()
            assert found.keys.all()
            assert reading.sample("rows", schema=SCHEMA.fingerprint()[:8]) == len(ITEMS)

    asyncio.run(job())


def test_a_switch_drops_the_old_generation(redis_address: str, redis: Redis) -> None:
    async def job() -> None:
        async with reader(redis_address) as reading:
            await sees(reading, "i3", 0.3)
            load_rows(redis, "g2", {}, {"i3": {"price": 5.0}})
            make_live(redis, "g2")
            assert await reading.price("i3") == 5  # the very next request
            assert await reading.price("i4") is None
            await until(reading.followed)
            await sees(reading, "i3", 5)
            put(redis, "i3", 6, generation="g2")
            await sees(reading, "i3", 6)
            misses = reading.misses()
            put(redis, "i3", 1)  # the old generation, of no interest
            await asyncio.sleep(0.05)
            await sees(reading, "i3", 6)
            assert reading.misses() == misses
            tracker = trackers(redis)
            make_live(redis, "g1")
            await sees(reading, "i3", 1)
            assert trackers(redis) == tracker  # the same connection follows it again

    asyncio.run(job())


def test_no_request_mixes_generations_of_kept_rows(redis_address: str, redis: Redis) -> None:
    """A price says of which generation a row is; the writer switches just slowly enough for rows to be kept."""
    items = {f"i{n}": {"price": 1.0} for n in range(50)}
    for generation, price in (("g1", 1.0), ("g2", 2.0)):
        load_rows(redis, generation, {"u": {"age": price}}, {item: {"price": price} for item in items})
    users = layout(SCHEMA, dictionaries(), Side.USER)
    stop = threading.Event()

    def switch() -> None:
        with Redis.from_url(redis_address) as other:
            while not stop.is_set():
                for generation in ("g1", "g2"):
                    make_live(other, generation)
                    time.sleep(0.01)

    async def job() -> None:
        async with reader(redis_address) as reading:
            seen: set[float] = set()

            async def one_round() -> bool:
                asked = [reading.store.fetch(SCHEMA.fingerprint(), "u", list(items)) for _ in range(3)]
                for stored in await asyncio.gather(*asked):
                    assert stored.found is not None
                    prices = set(stored.found.dense[:, 0].tolist())
                    assert prices == set(users.decode([stored.user]).dense[0].tolist())
                    seen.update(prices)
                return len(seen) == 2 and reading.sample("hits_total") > 5000

            await until(one_round)

    writer = threading.Thread(target=switch)
    writer.start()
    try:
        asyncio.run(job())
    finally:
        stop.set()
        writer.join()


def test_flushall_drops_everything(redis_address: str, redis: Redis) -> None:
    async def job() -> None:
        async with reader(redis_address) as reading:
            await reading.read(*ITEMS)
            redis.flushall()
            make_live(redis, "g1")
            await sees(reading, "i3", None)
            assert (await reading.read(*ITEMS)).missing.all()

    asyncio.run(job())


def test_two_schemas_side_by_side(redis_address: str, redis: Redis) -> None:
    load_rows(redis, "g1", {}, {"i3": {"price": 4.0}}, schema=OTHER)
    make_live(redis, "g1", schema=OTHER)

    async def job() -> None:
        async with reader(redis_address, SCHEMA, OTHER) as reading:
            await sees(reading, "i3", 0.3)
            await sees(reading, "i3", 4, OTHER)
            misses = reading.misses()
            put(redis, "i3", 6, schema=OTHER)
            await sees(reading, "i3", 6, OTHER)
            assert reading.misses() >= misses + 1
            misses = reading.misses()
            assert await reading.price("i3") == 0.3
            assert reading.misses() == misses

    asyncio.run(job())


def test_a_lost_connection_keeps_nothing_and_comes_back(redis_address: str, redis: Redis) -> None:
    async def job() -> None:
        async with reader(redis_address) as reading:
            await sees(reading, "i3", 0.3)
            (tracker,) = trackers(redis)
            redis.client_kill_filter(_id=tracker)
            put(redis, "i3", 7)  # nobody tells
            await until(lambda: not reading.followed())
            assert await reading.price("i3") == 7
            await until(reading.followed)
            await sees(reading, "i3", 7)
            assert trackers(redis) not in ([], [tracker])
            put(redis, "i3", 8)
            await sees(reading, "i3", 8)

    asyncio.run(job())


def test_a_connection_that_is_dead_without_saying_so_is_found_out(
    redis_address: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "BEAT_SECONDS", 0.1)

    async def job() -> None:
        async with reader(redis_address) as reading:
            await sees(reading, "i3", 0.3)
            await asyncio.sleep(0.25)
            assert reading.followed()  # it answers
            redis.client_pause(700)
            await until(lambda: not reading.followed())
            await until(reading.followed)
            await sees(reading, "i3", 0.3)

    asyncio.run(job())


def test_close_leaves_no_connection(redis_address: str, redis: Redis) -> None:
    before: Any = len(redis.client_list())

    async def job() -> None:
        async with reader(redis_address) as reading:
            await sees(reading, "i3", 0.3)

    asyncio.run(job())
    deadline = time.monotonic() + SECONDS
    while len(redis.client_list()) != before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def own_redis(folder: Path) -> Iterator[str]:
    """A server that a test may stop, with the rows loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    with private_redis(folder) as url, Redis.from_url(url) as client:
        load_rows(client, "g1", USERS, ITEMS)
        make_live(client, "g1")
        yield url


def test_a_restarted_redis_is_followed_again(tmp_path: Path) -> None:
    async def job() -> None:
        server = own_redis(tmp_path)
        url = server.__enter__()
        async with reader(url) as reading:
            await sees(reading, "i3", 0.3)
            server.__exit__(None, None, None)
            stored = await reading.store.fetch(SCHEMA.fingerprint(), None, ["i3"])
            assert (stored.degraded, stored.items, stored.found) == (UNAVAILABLE, [None], None)
            assert not reading.followed()
            with own_redis(tmp_path) as again, Redis.from_url(again) as redis:
                put(redis, "i3", 7)
                assert await reading.price("i3") == 7
                await until(reading.followed)
                await sees(reading, "i3", 7)
                put(redis, "i3", 8)
                await sees(reading, "i3", 8)

    asyncio.run(job())


@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_a_password(tmp_path: Path, place: str) -> None:
    folder = tmp_path / ("p" * (100 if place == "tcp" else 1))  # too long for a socket's path

    async def job(url: str, redis: Redis) -> None:
        async with reader(url) as reading:
            await sees(reading, "i3", 0.3)
            put(redis, "i3", 7)
            await sees(reading, "i3", 7)
        wrong = Store(url.replace("secret", "wrong"), "twinscore", 5000)
        assert (await wrong.fetch(SCHEMA.fingerprint(), "u1", ["i1"])).degraded == UNAVAILABLE
        await wrong.close()

    with own_redis(folder) as url, Redis.from_url(url) as redis:
        assert url.startswith("redis" if place == "tcp" else "unix")
        redis.config_set("requirepass", "secret")
        try:
            asyncio.run(job(url.replace("://", "://:secret@"), redis))
        finally:
            redis.config_set("requirepass", "")


@pytest.mark.parametrize("seed", range(2))
def test_after_quiescence_every_row_is_the_newest(redis_address: str, redis: Redis, seed: int) -> None:
    """Writers change rows while readers read; then all is as it was written last, and no key had two contents."""
    items = [f"i{n}" for n in range(20)]
    newest: dict[str, float | None] = {}
    written = threading.Event()

    def write() -> None:
        draw = np.random.default_rng(seed)
        with Redis.from_url(redis_address) as other:
            for step in range(300):
                item, price = items[draw.integers(len(items))], float(draw.integers(1, 1000))
                if draw.random() < 0.2:
                    remove(other, item)
                    newest[item] = None
                else:
                    put(other, item, price)
                    newest[item] = price
                if step % 100 == 50 and (ids := trackers(other)):
                    other.client_kill_filter(_id=ids[0])
        written.set()

    async def read(reading: Reader, content: dict[int, float]) -> None:
        draw = np.random.default_rng(seed)
        while not written.is_set():
            found = await reading.read(*(items[n] for n in draw.integers(0, len(items), 8)))
            for key, price in zip(found.keys.tolist(), found.dense[:, 0].tolist(), strict=True):
                if key:
                    assert content.setdefault(key, price) == price
            await asyncio.sleep(0.0005)  # the writer needs the interpreter too

    async def job() -> None:
        writer = threading.Thread(target=write)
        async with reader(redis_address) as reading:
            writer.start()
            content: dict[int, float] = {}
            await asyncio.gather(*(read(reading, content) for _ in range(4)))
            writer.join()
            assert set(newest) == set(items)
            await until(reading.followed)
            await asyncio.sleep(0.05)
            for item, price in newest.items():
                await sees(reading, item, price)
                assert await reading.price(item) == price
            assert reading.sample("hits_total") > 20
            assert reading.sample("invalidations_total") > 20

    asyncio.run(job())


def test_a_changed_row_changes_the_score(client: Client, bundles: Bundles, redis: Redis) -> None:
    body = {"user": {"id": "u1"}, "item_ids": ["i1", "i2"], "arm": "ple"}
    items = [ITEMS["i1"], ITEMS["i2"]]
    reply = client.score(body)[1]
    for price in (50.0, -3.0):
        items[1] = {"category": "w", "price": price}
        wanted = expected(bundles.graphs["ple"], USERS["u1"], {}, items)["ctr"]
        assert abs(wanted[1] - reply["scores"]["ctr"][1]) > 1e-3
        put(redis, "i2", price)
        changed = time.monotonic()
        while np.abs(client.score(body)[1]["scores"]["ctr"] - wanted).max() > 1e-5:
            assert time.monotonic() - changed < SECONDS
        reply = client.score(body)[1]
        np.testing.assert_allclose(reply["scores"]["ctr"], wanted, atol=1e-5)
    assert client.metric("twinscore_item_cache_hits_total") > 0
