"""What cannot be served in time is refused before work is done, and room comes back whatever happens."""

import asyncio
from math import inf
from time import perf_counter
from typing import Any, cast

import httpx
import pytest

from service.errors import OVERLOADED, ServiceProblem
from service.metrics import DEADLINE, EXPIRED, QUEUE_FULL, Metrics
from service.scoring.admission import Admission, deadline
from service.scoring.batching import Batcher
from service.scoring.engine import Engine
from tests.service.conftest import Client
from tests.service.scoring.test_batching import Held, inputs, sent

BODY: dict[str, Any] = {"user": {"id": "42"}, "item_ids": ["i1", "i2"], "context": {"hour": 0.5}}


def shed(metrics: Metrics, reason: str) -> float:
    return metrics.registry.get_sample_value("twinscore_shed_total", {"reason": reason}) or 0.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def admission(metrics: Metrics) -> Admission:
    """One that has learnt: with two threads, a thousand rows take half a second."""
    admission = Admission(parallel=2, run_rows=1000, max_waiting_rows=5000, metrics=metrics)
    admission.observe(1000, 1.0)
    return admission


def test_a_full_queue_says_when_it_will_have_drained(admission: Admission, metrics: Metrics) -> None:
    admission.reserve(5000, inf, 0)
    with pytest.raises(ServiceProblem, match="5000 candidates wait for the model; try again in 3 s") as refused:
        admission.reserve(1, inf, 5000)
    assert (refused.value.kind, refused.value.retry_after) == (OVERLOADED, 3)
    assert shed(metrics, QUEUE_FULL) == 1


def test_a_deadline_that_cannot_be_met_is_refused_at_once(admission: Admission, metrics: Metrics) -> None:
    now = perf_counter()
    for waiting in (0, 1000):
        admission.reserve(1000, inf, waiting)
    admission.reserve(1000, now + 1.7, 2000)
    with pytest.raises(ServiceProblem, match=r"3000 candidates .* its deadline is 1[67]\d\d ms away"):
        admission.reserve(1000, now + 1.7, 3000)
    assert shed(metrics, DEADLINE) == 1
    assert admission.rows == 3000


def test_a_small_request_is_judged_by_what_goes_before_it(admission: Admission) -> None:
    now = perf_counter()
    admission.reserve(4000, inf, 0)
    admission.reserve(10, now + 0.3, 4000)  # overtakes the large one


def test_an_idle_engine_takes_what_an_estimate_would_refuse(admission: Admission) -> None:
    admission.reserve(1000, perf_counter() + 0.1, 0)


def test_a_turn_comes_however_many_small_requests_follow(admission: Admission) -> None:
    large = admission.reserve(1000, inf, 0)
    assert admission.reserve(10, inf, 0).order < large.order
    assert large.order - perf_counter() < 20  # seconds: whoever comes later stands behind it


def test_runs_of_few_rows_do_not_look_like_a_slow_engine(metrics: Metrics) -> None:
    admission = Admission(1, 400, 5000, metrics)
    for _ in range(100):
        admission.observe(1, 0.0006)  # what a run costs whatever its rows
    admission.reserve(1, inf, 0)
    admission.reserve(1000, perf_counter() + 0.1, 1)


def test_rows_come_back_after_an_error_and_after_cancelling() -> None:
    async def play() -> None:
        engine = Held()
        queue = Batcher("held", cast(Engine, engine), Metrics(), 100, 1000)

        async def failing_look_up() -> None:
            with queue.admit(300):
                assert queue.waiting_rows == 300
                raise ConnectionError

        with pytest.raises(ConnectionError):
            await failing_look_up()
        assert queue.waiting_rows == 0
        jobs = await sent(queue, inputs(0, 10), inputs(1, 250))
        assert queue.waiting_rows == 250
        jobs[1].cancel()
        await asyncio.wait(jobs[1:])
        assert queue.waiting_rows == 0
        engine.gate.release(9)
        await jobs[0]
        queue.close()
        assert engine.runs == [10]

    asyncio.run(play())


def test_what_expired_while_it_waited_is_not_run() -> None:
    engine, metrics = Held(), Metrics()

    async def play() -> None:
        queue = Batcher("held", cast(Engine, engine), metrics, 100, 1000)
        (first,) = await sent(queue, inputs(0, 10))

        async def hasty() -> None:
            with queue.admit(20, perf_counter() + 0.03) as place:
                await queue.score(inputs(1, 20), place)

        job = asyncio.create_task(hasty())
        await asyncio.sleep(0.06)
        engine.gate.release(9)
        with pytest.raises(ServiceProblem, match=r"passed \d+ ms ago, before its turn came; try again in 1 s"):
            await job
        await first
        assert queue.waiting_rows == 0
        queue.close()

    asyncio.run(play())
    assert engine.runs == [10]
    assert shed(metrics, EXPIRED) == 1


def test_the_header_goes_before_the_setting() -> None:
    assert deadline(None, 0, 5.0) == inf
    assert deadline(None, 250, 5.0) == 5.25
    assert deadline("40", 250, 5.0) == 5.04


@pytest.mark.parametrize("value", ["", "0", "-5", "1.5", "soon", "٣", "9" * 5000])
def test_a_bad_header_is_refused(value: str) -> None:
    with pytest.raises(ServiceProblem, match="X-Deadline-Ms: a positive number of milliseconds, not '"):
        deadline(value, 250, 5.0)


def post(client: Client, headers: dict[str, str]) -> httpx.Response:
    response: httpx.Response = client.run(client.http.post("/score", json=BODY, headers=headers))
    return response


def test_over_http(client: Client) -> None:
    batcher = client.service.models["ple"].batcher
    assert post(client, {"X-Deadline-Ms": "5000"}).status_code == 200
    bad = post(client, {"X-Deadline-Ms": "soon"})
    assert (bad.status_code, bad.json()["detail"]) == (
        422, "X-Deadline-Ms: a positive number of milliseconds, not 'soon'",
    )  # fmt: skip
    with batcher.admit(32_768):
        full = post(client, {})
    assert (full.status_code, full.json()["title"]) == (503, "Too much is waiting")
    assert full.json()["detail"].startswith("32768 candidates wait for the model; try again in ")
    assert int(full.headers["Retry-After"]) >= 1
    assert client.metric('twinscore_shed_total{reason="queue-full"}') == 1
    assert post(client, {}).status_code == 200
