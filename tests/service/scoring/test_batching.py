"""Requests share runs and nothing else."""

import asyncio
import threading
from typing import Any, cast

import numpy as np
import pytest

from service.errors import ServiceProblem
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

    best_rows = 4096

    def __init__(self, parallel: int = 1) -> None:
        self.parallel = parallel
        self.gate = threading.Semaphore(0)
        self.runs: list[int] = []

    def run(self, feed: Inputs) -> Scores:
        self.gate.acquire()
        self.runs.append(len(feed.item_ids))
        if feed.request_ids.min() < 0:
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
