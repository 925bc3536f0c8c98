"""Shadows: the same columns, after the reply, behind everything; and what is told of the comparison."""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from contract.schema import Schema
from service.experiments.arms.comparison import Comparison, compared, spearman
from service.metrics import Metrics
from service.scoring.batching import MOST_SPARE, SMALLEST_PART, Batcher
from service.settings import Settings
from tests.service.bundles import SCHEMA, TASKS, expected, write_tiny_bundle
from tests.service.conftest import EXPERIMENTS, ITEMS, USERS, Bundles, Client, running
from tests.service.scoring.faulty import fault, until
from tests.service.scoring.test_batching import Held, batcher, inputs

IDS = ["i3", "i11", "i0", "i7"]
SHADOWED = EXPERIMENTS.replace("model: dtn,", "model: dtn, shadow: {model: ple, share: 10000},")
BODY = {"user": {"id": "u1"}, "item_ids": IDS, "arm": "dtn"}
OUTCOME = 'twinscore_shadow_requests_total{arm="dtn",experiment="dtn-vs-ple",model="ple@v1",outcome="%s"}'
F = np.float32


def report(client: Client) -> dict[str, Any]:
    assert client.service.guardrails is not None
    client.run(client.service.guardrails.judge(time.time()))
    (content,) = client.get("/experiments/shadow").json()
    return dict(content)


def test_rank_correlation_is_that_of_scipy_also_with_ties() -> None:
    draw = np.random.default_rng(3)
    for size in (2, 5, 200):
        a, b = (draw.integers(0, 9, size).astype(F) + np.eye(1, size, dtype=F)[0] * 20 for _ in range(2))
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(np.ones(5, F), np.arange(5, dtype=F)) is None
    assert spearman(np.ones(1, F), np.ones(1, F)) is None


def test_a_comparison_of_two_processes_is_that_of_all_requests() -> None:
    draw = np.random.default_rng(4)
    parts = [Comparison("x", "b", "m@1") for _ in range(2)]
    gaps, correlations = [], []
    for i in range(20):
        a, b = (draw.random(50).astype(F) for _ in range(2))
        parts[i % 2].add({"ctr": a, "own": a}, {"ctr": b, "other": b}, 0.01, 0.02)
        gaps += np.abs(a.astype(float) - b).tolist()
        correlations.append(spearmanr(a, b).statistic)
    parts[0].add({"ctr": np.array([np.nan], F)}, {"ctr": np.ones(1, F)}, 0.01, 0.02)  # left out of the scores
    (told,) = compared([part.counts() for part in parts])
    assert (told["requests"], set(told["tasks"])) == (21, {"ctr"})
    ctr = told["tasks"]["ctr"]
    assert ctr["rank_correlation"] == pytest.approx(np.mean(correlations))
    assert ctr["mean_difference"] == pytest.approx(np.mean(gaps))
    assert ctr["p50_difference"] == pytest.approx(np.quantile(gaps, 0.5), rel=0.06)
    assert ctr["p99_difference"] == pytest.approx(np.quantile(gaps, 0.99), rel=0.06)
    assert told["arm_latency"]["p50_ms"] == pytest.approx(10, rel=0.06)
    assert told["shadow_latency"]["p99_ms"] == pytest.approx(20, rel=0.06)


def test_a_shadow_scores_the_same_columns_and_is_compared(settings: Settings, bundles: Bundles) -> None:
    settings.experiments.write_text(SHADOWED)
    with running(settings) as client:
        dtn, ple = fault(client, "dtn", "ple")
        for _ in range(3):
            assert client.score(BODY)[0] == 200
        until(client, lambda: client.metric(OUTCOME % "scored") == 3)
        assert ple.runs[0].item_ids is dtn.runs[0].item_ids
        told = report(client)
        own, shadow = (
            expected(bundles.graphs[name], USERS["u1"], {}, [ITEMS[i] for i in IDS]) for name in ("dtn", "ple")
        )
        assert (told["experiment"], told["arm"], told["model"]) == ("dtn-vs-ple", "dtn", "ple@v1")
        assert (told["requests"], told["dropped"], told["failed"]) == (3, 0, 0)
        assert set(told["tasks"]) == {"ctr", "cvr", "ctcvr"}
        for task, of in told["tasks"].items():
            assert of["rank_correlation"] == pytest.approx(spearmanr(own[task], shadow[task]).statistic, abs=1e-6)
            assert of["mean_difference"] == pytest.approx(np.abs(own[task] - shadow[task]).mean(), abs=1e-5)
            assert of["arm_mean"] == pytest.approx(own[task].mean(), abs=1e-5)
            assert of["shadow_mean"] == pytest.approx(shadow[task].mean(), abs=1e-5)
        assert told["shadow_latency"]["p50_ms"] > 0
        labels = 'arm="dtn",experiment="dtn-vs-ple",model="ple@v1",task="ctr"'
        assert client.metric(f"twinscore_shadow_rank_correlation_count{{{labels}}}") == 3
        assert client.get("/experiments/health").json()["shadows"] == [told]
        client.score({**BODY, "arm": "ple"})
        assert client.metric(OUTCOME % "scored") == 3  # the other arm has none


def test_a_slow_shadow_delays_no_reply_and_is_dropped_beyond_a_bound(settings: Settings) -> None:
    settings.experiments.write_text(SHADOWED)
    with running(settings) as client:
        (ple,) = fault(client, "ple")
        ple.seconds = 0.2
        taken = []
        for _ in range(MOST_SPARE + 12):
            started = time.monotonic()
            status, reply = client.score(BODY)
            taken.append(time.monotonic() - started)
            assert (status, reply["experiment"]["served"]) == (200, "dtn")
        assert sorted(taken)[len(taken) // 2] < 0.1
        assert client.metric(OUTCOME % "dropped") >= 1
        ple.seconds = 0.0
        sent = MOST_SPARE + 12
        until(client, lambda: client.metric(OUTCOME % "scored") + client.metric(OUTCOME % "dropped") == sent)
        assert report(client)["dropped"] == client.metric(OUTCOME % "dropped")


def test_a_shadow_that_fails_is_its_own_affair(settings: Settings) -> None:
    settings.experiments.write_text(SHADOWED)
    with running(settings) as client:
        (ple,) = fault(client, "ple")
        ple.fails = True
        assert client.score(BODY)[1]["degraded"] == []
        until(client, lambda: client.metric(OUTCOME % "failed") == 1)
        told = report(client)
        assert (told["requests"], told["failed"], told["tasks"]) == (0, 1, {})


def test_requests_are_drawn_by_their_id(settings: Settings) -> None:
    settings.experiments.write_text(SHADOWED.replace("share: 10000", "share: 2500"))
    with running(settings) as client:
        (arm,) = (each for each in client.service.ready_pipeline().arms if each.shadow)
        assert arm.shadow is not None
        drawn = [name for name in map(str, range(4000)) if arm.shadow.draws(name)]
        assert 900 < len(drawn) < 1100
        for name in map(str, range(20)):
            client.score({**BODY, "request_id": name})
        until(client, lambda: client.metric(OUTCOME % "scored") == sum(int(name) < 20 for name in drawn))


def test_a_shadow_of_other_features_is_refused(settings: Settings, bundles: Bundles, tmp_path: Path) -> None:
    fields = tuple(field for field in SCHEMA.fields if field.name != "brand")
    root = tmp_path / "bundles"
    root.mkdir()
    (root / "ple").symlink_to(bundles.root / "ple")
    write_tiny_bundle(root, "dtn", 5, schema=Schema(user_key="user_id", item_key="item_id", fields=fields, tasks=TASKS))
    settings.experiments.write_text(SHADOWED)
    with running(settings.model_copy(update={"bundles": root})) as client:
        told = str(client.service.failure)
    assert "experiment 'dtn-vs-ple', arm 'dtn': shadow 'ple' reads other features" in told
    assert len(told.splitlines()) == 1


def test_spare_work_goes_last_and_in_small_parts_and_is_not_taken_when_others_wait() -> None:
    engine = Held()

    async def play() -> None:
        queue = batcher(engine, max_batch_rows=1000)
        first = asyncio.create_task(queue.score(inputs(1, 10)))
        await asyncio.sleep(0.02)  # it runs
        spare = queue.offer(inputs(2, 3 * SMALLEST_PART))
        assert spare is not None
        real = asyncio.create_task(queue.score(inputs(3, 20)))
        await asyncio.sleep(0.02)
        assert queue.waiting_rows == 20  # spare work does not count
        assert queue.offer(inputs(4, 5)) is None
        engine.gate.release(2)
        await asyncio.gather(first, real)
        assert not spare.scores.done()
        while engine.begun < 3:  # the first part of the spare work
            await asyncio.sleep(0.002)
        late = asyncio.create_task(queue.score(inputs(5, 30)))
        await asyncio.sleep(0.02)  # while the first part of the spare work runs
        engine.gate.release(4)
        await late
        scores = await spare.scores
        assert scores["ctr"].tolist() == [2000 + n for n in range(3 * SMALLEST_PART)]
        queue.close()

    asyncio.run(play())
    assert engine.runs == [10, 20, SMALLEST_PART, 30, SMALLEST_PART, SMALLEST_PART]


def test_spare_work_is_bounded_and_ends_with_the_service() -> None:
    engine = Held()

    async def play() -> None:
        queue = batcher(engine)
        jobs = [queue.offer(inputs(i, 5)) for i in range(MOST_SPARE + 5)]
        await asyncio.sleep(0.02)
        waiting = [job for job in jobs if job is not None]
        assert MOST_SPARE <= len(waiting) <= MOST_SPARE + 1
        engine.gate.release(1)
        await waiting[0].scores
        engine.gate.release(99)
        queue.close()
        assert queue.offer(inputs(0, 1)) is None
        await asyncio.gather(*(job.scores for job in waiting), return_exceptions=True)

    asyncio.run(play())


def test_a_spare_job_that_fails_gives_its_error_and_frees_the_engine() -> None:
    engine = Held()
    engine.poison = 1

    async def play() -> None:
        queue = Batcher("held", engine, Metrics(), 1000, 1000)
        engine.gate.release(9)
        spare = queue.offer(inputs(1, 3 * SMALLEST_PART))
        assert spare is not None
        with pytest.raises(ValueError, match="poisoned"):
            await spare.scores
        assert len((await queue.score(inputs(2, 1)))["ctr"]) == 1
        queue.close()

    asyncio.run(play())
