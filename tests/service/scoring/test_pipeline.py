"""Where an arm's model fails or is slow, the control answers; who may choose an arm."""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.schema import Schema
from service.experiments.arms.breaker import CONSECUTIVE
from service.scoring.plan import Plan
from service.settings import Settings
from tests.service.bundles import SCHEMA, TASKS, expected, write_tiny_bundle
from tests.service.conftest import EXPERIMENTS, ITEMS, USERS, Bundles, Client, running
from tests.service.scoring.faulty import adopt, fault

IDS = ["i3", "i11", "i0"]
DTN = {"user": {"id": "u1"}, "item_ids": IDS, "arm": "dtn"}
PLE = {**DTN, "arm": "ple"}
SLOW = "        slow_ms: 100.0\n"
EXPOSED = {"user": {"id": "u-qa-1"}, "item_ids": IDS}  # an override: dtn


def health(client: Client, arm: str = "dtn") -> dict[str, Any]:
    """The arm in this process, published or not."""
    states = client.service.ready_pipeline().arms
    return next(dict(state.counts()) for state in states if state.variant.arm.name == arm)


def test_an_arm_that_fails_is_answered_by_the_control(client: Client, bundles: Bundles) -> None:
    (engine,) = fault(client, "dtn")
    engine.fails = True
    status, reply = client.score(DTN)
    assert status == 200
    assert (reply["experiment"]["arm"], reply["experiment"]["served"]) == ("dtn", "ple")
    assert reply["model"] == {"name": "ple", "version": "v1"}
    assert reply["degraded"] == ["arm:failed"]
    wanted = expected(bundles.graphs["ple"], USERS["u1"], {}, [ITEMS[i] for i in IDS])
    np.testing.assert_allclose(reply["scores"]["ctr"], wanted["ctr"], atol=1e-5, rtol=0)
    assert client.metric('twinscore_degraded_total{reason="arm:failed"}') == 1
    labels = 'arm="dtn",experiment="dtn-vs-ple",reason="arm:failed"'
    assert client.metric(f"twinscore_arm_fallbacks_total{{{labels}}}") == 1
    assert client.metric("twinscore_candidates_total") == len(IDS)  # of one request
    counts = health(client)
    assert (counts["requests"], counts["failures"], counts["fallbacks"]) == (1, 1, 1)
    engine.fails = False
    reply = client.score(DTN)[1]
    assert (reply["experiment"]["served"], reply["degraded"]) == ("dtn", [])


def test_the_log_has_the_arm_that_was_meant_and_the_one_that_served(settings: Settings, tmp_path: Path) -> None:
    with running(settings.model_copy(update={"log": f"file:{tmp_path / 'log'}"})) as client:
        (engine,) = fault(client, "dtn")
        engine.fails = True
        assert client.score(EXPOSED)[1]["experiment"]["reason"] == "override"
    (file,) = (tmp_path / "log").iterdir()
    (record,) = [line for line in file.read_text().splitlines() if '"exposure"' in line]
    assert '"arm":"dtn"' in record
    assert '"served":"ple"' in record
    assert '"model":"ple@v1"' in record


def test_a_slow_arm_is_given_up_on(settings: Settings) -> None:
    settings.experiments.write_text(EXPERIMENTS.replace("        arms:\n", SLOW + "        arms:\n"))
    with running(settings) as client:
        (engine,) = fault(client, "dtn")
        assert client.score(DTN)[1]["degraded"] == []
        engine.seconds = 0.6
        started = time.monotonic()
        reply = client.score(DTN)[1]
        assert 0.09 < time.monotonic() - started < 0.5  # nobody waited for the run
        assert (reply["experiment"]["served"], reply["degraded"]) == ("ple", ["arm:slow"])
        counts = health(client)
        assert (counts["requests"], counts["slow"], counts["failures"]) == (2, 1, 0)
        assert client.score(PLE)[1]["degraded"] == []


def test_without_a_limit_a_slow_arm_is_waited_for(client: Client) -> None:
    (engine,) = fault(client, "dtn")
    engine.seconds = 0.2
    reply = client.score(DTN)[1]
    assert (reply["experiment"]["served"], reply["degraded"]) == ("dtn", [])


def test_a_breaker_opens_probes_and_closes(client: Client) -> None:
    (engine,) = fault(client, "dtn")
    engine.fails = True
    gauge = 'twinscore_arm_breaker{arm="dtn",experiment="dtn-vs-ple"}'
    for _ in range(CONSECUTIVE):
        assert client.score(DTN)[1]["degraded"] == ["arm:failed"]
    assert client.metric(gauge) == 2
    assert client.metric(gauge.replace('arm="dtn"', 'arm="ple"')) == 0
    runs = len(engine.runs)
    for _ in range(3):
        assert client.score(DTN)[1]["degraded"] == ["arm:open"]
    assert len(engine.runs) == runs  # the broken model is left alone
    assert health(client)["refused"] == 3
    state = next(each for each in client.service.ready_pipeline().arms if each.variant.arm.name == "dtn")
    state.breaker._until = 0.0  # its pause is over
    engine.fails = False
    assert client.score(DTN)[1]["degraded"] == []
    assert client.metric(gauge) == 0


def test_a_control_that_fails_is_an_error_and_no_loop(client: Client) -> None:
    dtn, ple = fault(client, "dtn", "ple")
    dtn.fails = ple.fails = True
    for body in (DTN, PLE):
        status, problem = client.score(body)
        assert (status, problem["type"]) == (500, "urn:twinscore:problem:internal")
    assert (len(dtn.runs), len(ple.runs)) == (1, 2)
    assert health(client)["fallbacks"] == 0
    assert health(client, "ple")["failures"] == 1


def test_the_same_model_is_not_asked_twice(settings: Settings) -> None:
    settings.experiments.write_text(EXPERIMENTS.replace("model: dtn,", "model: ple,"))
    with running(settings) as client:
        (engine,) = fault(client, "ple")
        engine.fails = True
        assert client.score(DTN)[0] == 500
        assert len(engine.runs) == 1


def test_what_the_caller_did_wrong_does_not_fall_on_the_arm(client: Client) -> None:
    assert client.score({**DTN, "context": {"hour": "late"}})[0] == 422
    response = client.run(client.http.post("/score", json=DTN, headers={"X-Deadline-Ms": "1"}))
    assert response.status_code in (200, 503)
    counts = health(client)
    assert (counts["failures"], counts["fallbacks"]) == (0, 0)


def test_a_control_of_another_schema_looks_up_for_itself(settings: Settings, bundles: Bundles, tmp_path: Path) -> None:
    fields = tuple(field for field in SCHEMA.fields if field.name != "brand")
    other = Schema(user_key="user_id", item_key="item_id", fields=fields, tasks=TASKS)
    root = tmp_path / "bundles"
    root.mkdir()
    (root / "ple").symlink_to(bundles.root / "ple")
    write_tiny_bundle(root, "dtn", 5, schema=other)
    with running(settings.model_copy(update={"bundles": root})) as client:
        assert client.service.failure is None
        (engine,) = fault(client, "dtn")
        engine.fails = True
        reply = client.score(DTN)[1]
        assert reply["degraded"] == ["arm:failed"]
        wanted = expected(bundles.graphs["ple"], USERS["u1"], {}, [ITEMS[i] for i in IDS])
        np.testing.assert_allclose(reply["scores"]["ctr"], wanted["ctr"], atol=1e-5, rtol=0)


def test_the_control_reads_what_was_read_already(client: Client) -> None:
    dtn, ple = fault(client, "dtn", "ple")
    dtn.fails = True
    client.score(DTN)
    assert ple.runs[0].item_ids is dtn.runs[0].item_ids


def test_counts_outlive_a_new_version_and_not_a_kill(client: Client) -> None:
    assert client.score(DTN)[0] == 200
    plan = client.service.plan
    adopt(client, Plan(plan.source, type(plan.assignment)(plan.source.config), plan.models))
    assert client.score(DTN)[0] == 200
    assert health(client)["requests"] == 2
    client.run(client.service.live.kill("dtn-vs-ple", "a test"))
    assert list(client.service.ready_pipeline().arms) == []
    assert client.score({"user": {"id": "u1"}, "item_ids": IDS})[1]["experiment"]["reason"] == "killed"


@pytest.mark.parametrize("name", ["dtn", "dtn-vs-ple/dtn"])
def test_a_header_chooses_the_arm_as_the_body_does(client: Client, settings: Settings, name: str) -> None:
    body = {"user": {"id": "u1"}, "item_ids": IDS}

    def ask(header: str, sent: dict[str, Any]) -> Any:
        return client.run(client.http.post("/score", json=sent, headers={"X-Arm": header}))

    reply = ask(name, body).json()
    assert (reply["experiment"]["arm"], reply["experiment"]["reason"]) == ("dtn", "forced")
    assert ask(name, {**body, "arm": name}).status_code == 200
    both = ask(name, {**body, "arm": "ple"})
    assert (both.status_code, both.json()["type"]) == (422, "urn:twinscore:problem:invalid-request")
    assert f"arm 'ple' and X-Arm '{name}' differ" in both.json()["detail"]
    assert ask("mmoe", body).status_code == 422


def test_a_header_is_refused_where_the_body_is(settings: Settings) -> None:
    with running(settings.model_copy(update={"allow_arm_override": False})) as client:
        sent = client.http.post("/score", json={"item_ids": IDS}, headers={"X-Arm": "dtn"})
        response = client.run(sent)
        assert response.status_code == 403
        assert response.json()["detail"].startswith("X-Arm: ")


def test_a_caller_that_leaves_the_probe_makes_room(client: Client) -> None:
    (engine,) = fault(client, "dtn")
    state = next(each for each in client.service.ready_pipeline().arms if each.variant.arm.name == "dtn")
    for _ in range(CONSECUTIVE):
        state.breaker.failed(state.breaker.allow())
    state.breaker._until = 0.0
    engine.seconds = 0.3

    async def leave() -> None:
        task = asyncio.create_task(client.http.post("/score", json=DTN))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    client.run(leave())
    assert str(state.breaker.state) == "half-open"
    engine.seconds = 0.0
    assert client.score(DTN)[1]["degraded"] == []
    assert str(state.breaker.state) == "closed"
