"""Arms beyond their limits end their experiment, once, for a reason that is told."""

import time
from typing import Any

import orjson
import pytest
from redis import Redis

from service.experiments.arms.guardrails import breaches
from service.experiments.arms.health import ArmReport
from service.experiments.config import Experiment
from service.settings import Settings
from tests.service.conftest import EXPERIMENTS, Client, running
from tests.service.scoring.faulty import fault, until

LIMITS = "guardrails: {error_rate: 0.3, p99_ms: 80.0, min_requests: 4, minutes: 1.0, calibration: [0.8, 1.25]}"
GUARDED = EXPERIMENTS.replace("        arms:\n", f"        {LIMITS}\n        arms:\n")
READOUT = "twinscore:readout:dtn-vs-ple"
HEALTH = "twinscore:experiments:health"
KILLS = 'twinscore_guardrail_kills_total{arm="dtn",experiment="dtn-vs-ple",guardrail="%s"}'


def report(**values: Any) -> ArmReport:
    usual: ArmReport = {
        "requests": 1000, "failures": 0, "slow": 0, "refused": 0, "fallbacks": 0, "p99_ms": 10.0, "error_rate": 0.0,
        "breaker": "closed", "predicted": None,
    }  # fmt: skip
    return {**usual, **values}  # type: ignore[typeddict-item]


def experiment(**limits: Any) -> Experiment:
    arms = [{"name": name, "weight": 5000, "model": name} for name in ("a", "b")]
    content = {"key": "x", "slots": [[0, 10_000]], "arms": arms, "control": "a", "guardrails": limits, "phase": 2}
    return Experiment.model_validate_json(orjson.dumps(content))


def found(of: Experiment, readout: dict[str, Any] | None = None, **arms: ArmReport) -> list[tuple[str, str]]:
    return [(breach.arm, breach.guardrail) for breach in breaches(of, arms, readout)]


def test_a_limit_holds_for_arms_beside_the_control_with_enough_requests() -> None:
    limits = experiment(error_rate=0.05, p99_ms=50.0, min_requests=200)
    assert found(limits, b=report(error_rate=0.05, p99_ms=50.0)) == []
    assert found(limits, b=report(error_rate=0.051)) == [("b", "error_rate")]
    assert found(limits, b=report(p99_ms=50.1)) == [("b", "p99_ms")]
    assert found(limits, b=report(error_rate=0.9, requests=199)) == []
    assert found(limits, b=report(p99_ms=None, error_rate=None)) == []
    assert found(limits, a=report(error_rate=0.9, p99_ms=1e4), b=report()) == []
    assert found(experiment(min_requests=1), b=report(error_rate=0.9, p99_ms=1e4)) == []
    (breach,) = breaches(limits, {"b": report(error_rate=0.123)}, None)
    assert breach.why == "arm 'b': error rate 12.3 % in 1000 requests of 5 min; at most 5 %"


def test_calibration_is_what_the_readout_of_this_phase_says() -> None:
    told = {"name": "calibration", "arm": "b", "value": 1.4, "limit": "0.8 to 1.25", "breached": True}
    limits = experiment(calibration=[0.8, 1.25])
    assert found(limits, {"phase": 2, "guardrails": [told]}) == [("b", "calibration")]
    assert found(limits, {"phase": 1, "guardrails": [told]}) == []
    assert found(limits, {"phase": 2, "guardrails": [{**told, "breached": False}]}) == []
    assert found(limits, {"phase": 2, "guardrails": [{**told, "name": "error_rate"}]}) == []
    assert found(experiment(error_rate=0.5), {"phase": 2, "guardrails": [told]}) == []


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.experiments.arms.guardrails.SECONDS", 0.05)


def reason(client: Client) -> str:
    answer: str = client.score({"user": {"id": "u-qa-1"}, "item_ids": ["i1"]})[1]["experiment"]["reason"]
    return answer


def killed(client: Client) -> bool:
    found = client.service.source.config.experiment("dtn-vs-ple")
    return found is not None and found.killed


@pytest.mark.parametrize(("guardrail", "told"), [("p99_ms", "at most 80 ms"), ("error_rate", "at most 30 %")])
def test_an_arm_beyond_its_limit_ends_the_experiment_once(
    settings: Settings, capfd: pytest.CaptureFixture[str], guardrail: str, told: str
) -> None:
    settings.experiments.write_text(GUARDED)
    with running(settings) as client:
        (engine,) = fault(client, "dtn")
        for _ in range(3):
            assert reason(client) == "override"
        engine.fails, engine.seconds = guardrail == "error_rate", 0.0 if guardrail == "error_rate" else 0.15
        for _ in range(4):
            reason(client)
        until(client, lambda: killed(client))
        engine.fails, engine.seconds = False, 0.0
        assert reason(client) == "killed"
        assert client.service.source.config.version == 8
        assert client.metric(KILLS % guardrail) == 1
        until(client, lambda: told in client.get("/experiments/versions").text)
        assert '"author":"guardrail"' in client.get("/experiments/versions").text
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("guardrail: ")]
    assert len(lines) == 1
    assert "experiment 'dtn-vs-ple' is killed: arm 'dtn'" in lines[0]
    assert told in lines[0]


def test_what_other_processes_saw_counts(settings: Settings, redis: Redis) -> None:
    settings.experiments.write_text(GUARDED)
    with running(settings) as client:
        arm = {
            "key": "dtn-vs-ple", "phase": 1, "arm": "dtn", "breaker": "open", "requests": 50, "failures": 20, "slow": 0,
            "refused": 5, "fallbacks": 25, "latency": {}, "predicted": 0.0, "sampled": 0,
        }  # fmt: skip
        redis.hset(HEALTH, "other:1", orjson.dumps({"time": time.time(), "arms": [arm]}))
        until(client, lambda: killed(client))


def test_without_redis_a_process_judges_by_itself(settings: Settings) -> None:
    settings.experiments.write_text(GUARDED)
    with running(settings) as client:
        assert client.service.guardrails is not None
        client.service.guardrails._redis.connection_pool.connection_kwargs["path"] = "/nowhere"
        client.run(client.service.guardrails._redis.connection_pool.disconnect())
        (engine,) = fault(client, "dtn")
        engine.fails = True
        for _ in range(4):
            reason(client)
        until(client, lambda: killed(client))
        told = client.get("/experiments/health").json()
        assert told["processes"] == 1


def test_a_breached_calibration_of_the_readout_ends_it(settings: Settings, redis: Redis) -> None:
    settings.experiments.write_text(GUARDED)
    told = {"name": "calibration", "arm": "dtn", "value": 1.4, "limit": "0.8 to 1.25", "breached": True}
    redis.set(READOUT, orjson.dumps({"phase": 1, "guardrails": [told]}))
    with running(settings) as client:
        until(client, lambda: killed(client))
        assert client.metric(KILLS % "calibration") == 1


def test_health_is_shown_and_withdrawn(client: Client, redis: Redis) -> None:
    for _ in range(3):
        client.score({"user": {"id": "u-qa-1"}, "item_ids": ["i1", "i2"]})

    def shown() -> dict[str, Any]:
        content: dict[str, Any] = client.get("/experiments/health").json()
        return content

    until(client, lambda: shown()["experiments"].get("dtn-vs-ple", {}).get("dtn", {}).get("requests") == 3)
    health = shown()
    assert health["processes"] == 1
    arm = health["experiments"]["dtn-vs-ple"]["dtn"]
    assert set(arm) == set(ArmReport.__annotations__)
    assert arm["error_rate"] == 0
    assert 0 < arm["p99_ms"] < 10_000
    assert 0 < arm["predicted"] < 1
    assert health["experiments"]["dtn-vs-ple"]["ple"]["requests"] == 0
    assert len(redis.hkeys(HEALTH)) == 1
    assert client.service.guardrails is not None
    client.run(client.service.guardrails.close())
    assert redis.hkeys(HEALTH) == []
