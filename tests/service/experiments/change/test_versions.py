"""Versions in a real Redis: of several writers one wins, and every version stays."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from contract.errors import ConfigError
from service.experiments.change.editing import renumbered
from service.experiments.change.versions import Conflict, Version, Versions, publish_sync, read_head, read_live
from service.experiments.source import Source, parse_experiments
from tests.service.conftest import EXPERIMENTS

T = TypeVar("T")


def source(version: int, text: str = EXPERIMENTS) -> Source:
    return parse_experiments(renumbered(text, version), "test")


def with_store(address: str, job: Callable[[Versions], Awaitable[T]]) -> T:
    """Run it with a store of prefix `t`."""

    async def run() -> T:
        async with AsyncRedis.from_url(address) as redis:
            return await job(Versions(redis, "t"))

    return asyncio.run(run())


def test_each_version_is_kept_with_author_note_and_difference(redis: Redis, redis_address: str) -> None:
    async def job(versions: Versions) -> list[Version]:
        await versions.publish(source(1), "ann", "the first", await versions.head())
        changed = source(2, EXPERIMENTS.replace("u-qa-1", "u-qa-2"))
        await versions.publish(changed, "bob", "", await versions.head())
        return await versions.history()

    second, first = with_store(redis_address, job)
    assert (first.version, first.author, first.note, first.diff) == (1, "ann", "the first", [])
    assert (second.version, second.author, second.time > first.time) == (2, "bob", True)
    assert [line for line in second.diff if line[0] in "+-"] == [
        "-version: 1",
        "+version: 2",
        "-        overrides: {u-qa-1: dtn, 42: ple}",
        "+        overrides: {u-qa-2: dtn, 42: ple}",
    ]
    assert redis.get("t:experiments:live") == (second.text or "").encode()


def test_of_many_that_read_the_same_one_wins(redis: Redis, redis_address: str) -> None:
    async def job(versions: Versions) -> list[object]:
        head = await versions.head()
        writers = (versions.publish(source(n), "w", "", head) for n in range(1, 9))
        return await asyncio.gather(*writers, return_exceptions=True)

    outcomes = with_store(redis_address, job)
    assert sum(isinstance(outcome, Version) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 7
    assert redis.hlen("t:experiments:versions") == 1


def test_a_text_that_was_set_by_hand_meanwhile_is_not_overwritten(redis: Redis, redis_address: str) -> None:
    async def job(versions: Versions) -> None:
        await versions.publish(source(1), "ann", "", await versions.head())
        head = await versions.head()
        redis.set("t:experiments:live", "by hand")
        assert not (await versions.head()).recorded
        await versions.publish(source(2), "ann", "", head)

    with pytest.raises(Conflict):
        with_store(redis_address, job)
    assert redis.get("t:experiments:live") == b"by hand"


def test_a_process_without_an_event_loop_publishes_alike(redis: Redis) -> None:
    assert read_live(redis, "t") is None
    publish_sync(redis, "t", source(3).text, "thompson", "weights")
    live = read_live(redis, "t")
    assert live is not None
    assert live.config.version == 3
    with pytest.raises(Conflict, match="version 3 is in force; yours must be higher, and is 3"):
        publish_sync(redis, "t", source(3).text, "thompson", "")
    with pytest.raises(ConfigError, match=r"^thompson:1: "):
        publish_sync(redis, "t", "version: 4", "thompson", "")
    head = read_head(redis, "t")
    assert head.recorded
    assert head.last is not None
    assert (head.last.version, head.last.author, head.last.note) == (3, "thompson", "weights")


def test_a_live_text_that_no_service_takes_is_not_in_force(redis: Redis) -> None:
    redis.set("t:experiments:live", source(7).text)  # and no service was there yet
    live = read_live(redis, "t")
    assert live is not None
    assert live.config.version == 7
    redis.delete("t:experiments:live")
    publish_sync(redis, "t", source(3).text, "ann", "")
    redis.set("t:experiments:live", "nothing that can be read: [")
    live = read_live(redis, "t")
    assert live is not None
    assert live.config.version == 3


def test_what_somebody_else_wrote_among_the_versions_is_left_out(redis: Redis, redis_address: str) -> None:
    redis.hset("t:experiments:versions", mapping={"2": "{}", "note": "x"})

    async def job(versions: Versions) -> tuple[list[Version], Version]:
        empty = await versions.history()
        return empty, await versions.publish(source(3), "ann", "", await versions.head())

    empty, version = with_store(redis_address, job)
    assert (empty, version.diff) == ([], [])
