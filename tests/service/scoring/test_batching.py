"""Requests share runs and nothing else."""

import asyncio
import threading
from time import sleep
from typing import Any, cast

import numpy as np
import pytest

from service.errors import NOT_READY, ServiceProblem
from service.metrics import Metrics
from service.scoring.batching import Batcher
from service.scoring.engine import Engine, Scores
from service.scoring.inputs import Inputs, merge, one_request
from tests.service.bundles import expected
from tests.service.conftest import ITEMS, USERS, Bundles, Client


def inputs(request: int, candidates: int) -> Inputs:
    ids = np.full((1, 2), request, np.int32)
    items = np.arange(candidates, dtype=np.int32)[:, None]
    return one_request(ids, np.zeros((1, 0), np.float32), items, np.zeros((candidates, 0), np.float32))


class Held:
    """Stands where an engine stands: adds request and item ids, and runs only when it is let."""

    def __init__(self, parallel: int = 1, best_rows: int = 4096) -> None:
        self.parallel, self.best_rows = parallel, best_rows
        self.gate = threading.Semaphore(0)
        self.runs: list[int] = []
        self.requests: list[int] = []  # of all runs, in their order
        self.poison = -1  # an item
        self.begun = 0  # runs, also those that wait at the gate

    def run(self, feed: Inputs) -> Scores:
        self.begun += 1
        self.gate.acquire()
        self.runs.append(len(feed.item_ids))
        self.requests += dict.fromkeys(feed.request_ids[feed.request_of_item, 0].tolist())
        if feed.request_ids.min() < 0 or (feed.item_ids == self.poison).any():
            raise ValueError("poisoned")
        sums = feed.request_ids[feed.request_of_item, 0] * 1000 + feed.item_ids[:, 0]
        return {"ctr": sums.astype(np.float32)}


def batcher(engine: Held, max_batch_rows: int = 100, max_waiting_rows: int = 1000) -> Batcher:
    return Batcher("held", cast(Engine, engine), Metrics(), max_batch_rows, max_waiting_rows)


async def sent(queue: Batcher, *requests: Inputs) -> list["asyncio.Task[Scores]"]:
    """The requests, the first of which an engine thread has taken before the others come."""
    jobs = [asyncio.create_task(queue.score(requests[0]))]
    await asyncio.sleep(0.02)
    jobs += [asyncio.create_task(queue.score(request)) for request in requests[1:]]
    await asyncio.sleep(0.02)
    return jobs


def test_merge_gives_every_candidate_its_request() -> None:
    merged = merge([inputs(5, 2), inputs(6, 1), inputs(7, 3)])
    assert merged.request_of_item.tolist() == [0, 0, 1, 2, 2, 2]
    assert merged.request_ids[:, 0].tolist() == [5, 6, 7]
    assert merged.item_ids[:, 0].tolist() == [0, 1, 0, 0, 1, 2]
    assert merged.request_dense.shape == (3, 0)
    assert merged.item_dense.shape == (6, 0)


def test_what_waits_goes_together_the_moment_the_engine_is_free() -> None:
    engine = Held()

    async def play() -> list[Scores]:
        queue = batcher(engine)
        jobs = await sent(queue, *(inputs(i, 10 + i) for i in range(6)))
        assert queue.waiting_rows == sum(10 + i for i in range(1, 6))  # the first runs alone, and at once
        engine.gate.release(2)
        results = await asyncio.gather(*jobs)
        queue.close()
        return results

    for i, scores in enumerate(asyncio.run(play())):
        assert scores["ctr"].tolist() == [i * 1000 + n for n in range(10 + i)]
    assert engine.runs == [10, 65]


def test_a_batch_keeps_to_its_rows_and_a_large_request_is_cut() -> None:
    engine = Held()

    async def play() -> None:
        queue = batcher(engine, max_batch_rows=25)
        jobs = await sent(queue, *(inputs(1, size) for size in (5, 10, 15, 1, 60)))
        engine.gate.release(10)
        await asyncio.gather(*jobs)
        queue.close()

    asyncio.run(play())
    assert engine.runs == [5, 25, 1, 20, 20, 20]


def test_too_much_waiting_is_refused_and_room_returns() -> None:
    engine = Held()

    async def play() -> None:
        queue = batcher(engine, max_waiting_rows=20)
        jobs = await sent(queue, *(inputs(1, 10) for _ in range(3)))
        with pytest.raises(ServiceProblem, match="20 candidates wait"):
            await queue.score(inputs(1, 1))
        engine.gate.release(9)
        await asyncio.gather(*jobs)
        assert len((await queue.score(inputs(1, 500)))["ctr"]) == 500
        queue.close()

    asyncio.run(play())


def test_a_caller_that_left_is_not_scored() -> None:
    engine = Held()

    async def play() -> None:
        queue = batcher(engine)
        jobs = await sent(queue, *(inputs(i, 10) for i in range(3)))
        jobs[1].cancel()
        await asyncio.sleep(0)
        engine.gate.release(5)
        assert (await jobs[2])["ctr"][0] == 2000
        assert queue.waiting_rows == 0
        queue.close()

    asyncio.run(play())
    assert engine.runs == [10, 10]


def test_a_failed_run_fails_its_requests_and_not_the_next() -> None:
    engine = Held()
    engine.gate.release(5)

    async def play() -> None:
        queue = batcher(engine)
        with pytest.raises(ValueError, match="poisoned"):
            await queue.score(inputs(-1, 3))
        assert (await queue.score(inputs(4, 1)))["ctr"].tolist() == [4000]
        queue.close()

    asyncio.run(play())


def test_idle_threads_share_a_large_request_and_its_scores_keep_their_order() -> None:
    engine = Held(parallel=2)

    async def play() -> Scores:
        queue = batcher(engine, max_batch_rows=4096)
        job = asyncio.create_task(queue.score(inputs(0, 1000)))
        await asyncio.sleep(0.05)
        assert queue.waiting_rows == 0  # both threads hold a half
        engine.gate.release(2)
        scores = await job
        queue.close()
        return scores

    assert asyncio.run(play())["ctr"].tolist() == list(range(1000))
    assert engine.runs == [500, 500]


@pytest.mark.parametrize(("parallel", "rows", "runs"), [(2, 190, [190]), (2, 260, [130, 130]), (1, 700, [175] * 4)])
def test_parts_are_even_neither_tiny_nor_beyond_a_run(parallel: int, rows: int, runs: list[int]) -> None:
    engine = Held(parallel, best_rows=200)
    engine.gate.release(9)

    async def play() -> None:
        queue = batcher(engine, max_batch_rows=4096)
        assert len((await queue.score(inputs(0, rows)))["ctr"]) == rows
        queue.close()

    asyncio.run(play())
    assert engine.runs == runs


def test_one_failed_part_fails_the_request_and_its_other_parts_are_not_run() -> None:
    engine = Held()
    engine.poison = 120
    engine.gate.release(2)

    async def play() -> None:
        queue = batcher(engine, max_batch_rows=100)
        with pytest.raises(ValueError, match="poisoned"):
            await queue.score(inputs(1, 1000))
        engine.gate.release(9)  # the third part may have been taken before the second one's failure was known
        assert (await queue.score(inputs(4, 1)))["ctr"].tolist() == [4000]
        assert queue.waiting_rows == 0
        queue.close()

    asyncio.run(play())
    assert engine.runs in ([100, 100, 1], [100, 100, 100, 1])


def test_a_small_request_overtakes_large_ones_and_equal_ones_keep_their_order() -> None:
    engine = Held()

    async def play() -> None:
        queue = batcher(engine)
        (first,) = await sent(queue, inputs(0, 10))  # from whose run of 20 ms the time of others is known
        engine.gate.release()
        await first
        jobs = await sent(queue, inputs(1, 10), inputs(2, 95), inputs(3, 95), inputs(4, 6), inputs(5, 6))
        engine.gate.release(9)
        await asyncio.gather(*jobs)
        queue.close()

    asyncio.run(play())
    assert engine.requests == [0, 1, 4, 5, 2, 3]


class Paced:
    """Stands where an engine stands: takes 10 microseconds a row."""

    parallel, best_rows = 1, 200

    def __init__(self) -> None:
        self.runs = 0

    def run(self, feed: Inputs) -> Scores:
        sleep(1e-5 * len(feed))
        self.runs += 1
        return {"ctr": np.full(len(feed), self.runs, np.float32)}


def test_a_small_request_among_large_ones_waits_for_one_run() -> None:
    engine = Paced()

    async def play() -> list[int]:
        queue = Batcher("paced", cast(Engine, engine), Metrics(), 4096, 32_768)
        await queue.score(inputs(0, 1000))
        large = [asyncio.create_task(queue.score(inputs(1, 1000))) for _ in range(20)]
        waited = []
        for _ in range(5):
            await asyncio.sleep(0.002)
            before = engine.runs
            waited.append(int((await queue.score(inputs(2, 10)))["ctr"][0]) - before)
        assert not large[-1].done()
        await asyncio.gather(*large)
        queue.close()
        return waited

    assert sorted(asyncio.run(play()))[3] <= 2  # the run under way, and its own


def test_a_large_request_is_served_although_small_ones_keep_coming() -> None:
    engine = Paced()

    async def play() -> None:
        queue = Batcher("paced", cast(Engine, engine), Metrics(), 100, 32_768)
        await queue.score(inputs(0, 100))

        async def keep_asking() -> None:
            while True:
                await queue.score(inputs(2, 10))

        small = [asyncio.create_task(keep_asking()) for _ in range(30)]  # more than a run holds, always
        await asyncio.sleep(0.01)
        await asyncio.wait_for(queue.score(inputs(1, 500)), 5)
        for job in small:
            job.cancel()
        await asyncio.wait(small)
        assert queue.waiting_rows == 0
        queue.close()

    asyncio.run(play())


def test_closing_refuses_what_waits_and_what_comes() -> None:
    engine = Held()

    async def play() -> list[Scores | BaseException]:
        queue = batcher(engine)
        jobs = await sent(queue, *(inputs(i, 10) for i in range(3)))
        engine.gate.release(9)
        queue.close()
        with pytest.raises(ServiceProblem, match="shutting down"):
            await queue.score(inputs(9, 1))
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert queue.waiting_rows == 0
        return results

    running, *waiting = asyncio.run(asyncio.wait_for(play(), 5))
    assert isinstance(running, dict)
    assert running["ctr"][0] == 0
    assert [isinstance(result, ServiceProblem) and result.kind for result in waiting] == [NOT_READY, NOT_READY]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine-held")]


def test_many_requests_at_once_each_get_their_own_scores(client: Client, bundles: Bundles) -> None:
    names = list(ITEMS)
    bodies: list[dict[str, Any]] = []
    for n in range(200):
        user, arm = list(USERS)[n % 3], ("ple", "dtn")[n // 3 % 2]
        hour = n / 100
        chosen = [names[(n * 7 + k) % len(names)] for k in range(1 + n % 37)]
        bodies.append({"user": {"id": user}, "item_ids": chosen, "context": {"hour": hour}, "arm": arm})

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(client.http.post("/score", json=body) for body in bodies))

    for body, response in zip(bodies, client.run(all_at_once()), strict=True):
        reply, graph = response.json(), bundles.graphs[str(body["arm"])]
        items = [ITEMS[item] for item in body["item_ids"]]
        wanted = expected(graph, USERS[body["user"]["id"]], body["context"], items)
        for task, scores in wanted.items():
            np.testing.assert_allclose(reply["scores"][task], scores, atol=1e-5)
    runs = sum(client.metric(f'twinscore_batch_requests_count{{model="{arm}@v1"}}') for arm in ("ple", "dtn"))
    assert runs < 200  # they did share
