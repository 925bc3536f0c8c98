"""Counts of arms in a window, added up over processes."""

import asyncio
import time

import numpy as np
import orjson
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from service.experiments.arms.bins import Bins, dense, sparse
from service.experiments.arms.breaker import State
from service.experiments.arms.health import Health, Published, Window, joined, publish, read_health, withdraw

HEALTH = "twinscore:experiments:health"


def published(window: Window, at: float, breaker: State = "closed", phase: int = 1) -> Published:
    return {"time": at, "arms": [window.counts("x", phase, "b", breaker)]}


def test_a_quantile_is_within_a_bin_of_the_truth() -> None:
    bins = Bins(least=1e-4, ratio=1.1, count=200)
    values = np.random.default_rng(1).lognormal(-5, 1.5, 20_000)
    counts = bins.counts(values)
    one_by_one = np.bincount([bins.of(value) for value in values], minlength=bins.count)
    assert np.abs(np.cumsum(counts - one_by_one)).max() <= 1  # a value on an edge, rounded
    for share in (0.5, 0.9, 0.99):
        assert bins.quantile(counts, share) == pytest.approx(np.quantile(values, share), rel=0.06)
    assert bins.quantile(np.zeros(200, np.int64), 0.5) is None
    assert bins.of(0) == 0
    assert bins.of(1e9) == 199
    assert dense(sparse(counts), bins).tolist() == counts.tolist()


def test_an_arm_is_reported_over_all_processes() -> None:
    first, second = Window(), Window()
    for _ in range(98):
        first.answered(0.010, np.array([0.1, 0.3], np.float32))
    first.slow(0.5)
    first.slow(0.5)
    second.failed()
    second.refused()
    second.stood_in()
    for window in (first, second):
        window.tick(1000.0)
    report = joined([published(first, 1000), published(second, 1000, "open")])["experiments"]["x"]["b"]
    assert (report["requests"], report["failures"], report["slow"], report["refused"]) == (102, 1, 2, 1)
    assert report["fallbacks"] == 1
    assert report["error_rate"] == pytest.approx(2 / 102)
    assert report["p99_ms"] == pytest.approx(500, rel=0.06)
    assert report["breaker"] == "open"
    assert report["predicted"] == pytest.approx(0.2)
    nothing = joined([published(Window(), 1000)])["experiments"]["x"]["b"]
    assert (nothing["p99_ms"], nothing["error_rate"], nothing["predicted"]) == (None, None, None)


def test_a_later_phase_leaves_the_earlier_behind() -> None:
    old, new = Window(), Window()
    old.failed()
    new.answered(0.1, None)
    report = joined([published(old, 0, phase=1), published(new, 0, phase=2)])["experiments"]["x"]["b"]
    assert (report["requests"], report["failures"]) == (1, 0)


def test_the_window_slides() -> None:
    window = Window(minutes=1)
    for second in range(200):
        window.tick(float(second))
        window.failed()
        counts = window.counts("x", 1, "b", "closed")["requests"]
        assert counts == second + 1 if second < 58 else 58 <= counts <= 64
    for second in range(200, 270):
        window.tick(float(second))
    assert window.counts("x", 1, "b", "closed")["requests"] == 0


def test_processes_publish_leave_and_are_forgotten_when_silent(redis_address: str, redis: Redis) -> None:
    window = Window()
    window.failed()
    now = time.time()

    async def play() -> list[Health]:
        client = AsyncRedis.from_url(redis_address, protocol=2)
        await publish(client, "twinscore", "a:1", published(window, now))
        await publish(client, "twinscore", "a:2", published(window, now - 9))
        await publish(client, "twinscore", "silent:3", published(window, now - 11))
        await publish(client, "twinscore", "gone:4", published(window, now - 3600))
        redis.hset(HEALTH, "strange:5", b"[1]")
        redis.hset(HEALTH, "strange:6", b"{")
        seen = [await read_health(client, "twinscore", now)]
        await withdraw(client, "twinscore", "a:1")
        seen.append(await read_health(client, "twinscore"))
        await client.aclose()
        return seen

    both, one = asyncio.run(play())
    assert (both["processes"], both["experiments"]["x"]["b"]["failures"]) == (2, 2)
    assert (one["processes"], one["experiments"]["x"]["b"]["failures"]) == (1, 1)
    assert set(redis.hkeys(HEALTH)) == {b"a:2", b"silent:3"}
    assert orjson.loads(redis.hget(HEALTH, "a:2") or b"")["arms"][0]["failures"] == 1


def test_a_request_costs_little() -> None:
    window, scores = Window(), np.zeros(200, np.float32)
    taken = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(10_000):
            window.answered(0.0123, scores)
        taken.append((time.process_time() - started) / 10_000)
    assert min(taken) < 3e-6
