"""/livez, /readyz, /metrics, /models, /experiments."""

from pathlib import Path

from contract.bundle import read_bundle
from service.metrics import STAGES
from service.settings import Settings
from tests.service.bundles import write_tiny_bundle
from tests.service.conftest import Bundles, Client, running


def test_not_ready_until_the_bundles_are_warm(settings: Settings) -> None:
    with running(settings, wait=False) as client:
        assert client.get("/livez").json() == {"alive": True}
        ready = client.get("/readyz")
        refused = client.post(b'{"item_ids": ["i1"]}')
        if not client.service.loaded.is_set():  # it is, on a machine that is much faster than any
            assert ready.status_code == 503
            assert ready.json()["checks"] == {
                "bundles": {"ok": False, "detail": "being verified"},
                "redis": {"ok": True, "detail": "answers"},
            }
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["type"].endswith("not-ready")
        client.run(client.service.loaded.wait())
        assert client.get("/readyz").status_code == 200
        assert client.post(b'{"item_ids": ["i1"]}').status_code == 200


def test_a_bundle_that_fails_keeps_the_service_unready(settings: Settings, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "b", "ple", 1)
    write_tiny_bundle(tmp_path / "b", "dtn", 2, golden_shift=1e-3)
    with running(settings.model_copy(update={"bundles": tmp_path / "b"})) as client:
        failure = str(client.service.failure)
        assert failure.startswith(f"{settings.experiments}:12: model 'dtn': ")
        assert "task 'ctr', golden case 0" in failure
        assert client.get("/readyz").status_code == 503
        assert client.post(b'{"item_ids": ["i1"]}').status_code == 503


def test_not_ready_from_the_moment_it_is_told_to_end(client: Client) -> None:
    assert client.get("/readyz").status_code == 200
    client.service.draining = True
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["draining"]["ok"]) == (503, False)
    assert client.post(b'{"item_ids": ["i1"]}').status_code == 200


def test_metrics_time_every_stage_and_name_no_id(client: Client) -> None:
    client.score({"user": {"id": "u-secret"}, "item_ids": ["i-secret", "i1"], "arm": "dtn"})
    client.score({"user": {"id": "u1"}, "item_ids": []})
    for stage in STAGES:
        assert client.metric(f'twinscore_stage_seconds_count{{stage="{stage}"}}') == (2 if stage == "total" else 1)
    assert client.metric('twinscore_requests_total{arm="dtn",model="dtn",status="200"}') == 1
    assert client.metric('twinscore_requests_total{arm="",model="",status="422"}') == 1
    assert client.metric('twinscore_batch_rows_sum{model="dtn@v1"}') == 2
    assert client.metric('twinscore_queue_rows{model="dtn@v1"}') == 0
    text = client.get("/metrics").text
    assert 'le="0.0001"' in text
    assert "secret" not in text


def test_models_are_shown_with_their_arms(client: Client, bundles: Bundles) -> None:
    models = {model["name"]: model for model in client.get("/models").json()}
    assert set(models) == {"ple", "dtn"}
    assert models["dtn"]["arms"] == ["dtn-vs-ple/dtn"]
    assert (models["ple"]["default"], models["dtn"]["default"]) == (True, False)
    assert models["dtn"]["tasks"] == ["ctr", "ctcvr"]
    assert models["dtn"]["fingerprint"] == read_bundle(bundles.root / "dtn" / "v1").manifest.fingerprint
    metric = 'twinscore_model_info{{dataset="tiny",fingerprint="{}",model="dtn",version="v1"}}'
    assert client.metric(metric.format(models["dtn"]["fingerprint"])) == 1


def test_experiments_are_shown_and_explained(client: Client) -> None:
    config = client.get("/experiments").json()
    assert config["version"] == 7
    assert config["layers"][0]["experiments"][0]["arms"][1] == {"name": "dtn", "model": "dtn", "weight": 5000}
    for user in ("u1", "u2", "u-qa-1", "日本"):
        told = client.get("/experiments/explain", user_id=user).json()
        reply = client.score({"user": {"id": user}, "item_ids": ["i1"]})[1]
        assert reply["experiment"].pop("served") == reply["experiment"]["arm"]
        assert {key: told[key] for key in reply["experiment"]} == reply["experiment"]
        assert told["model"] == reply["model"]["name"]
        steps = {step["step"]: step for step in told["steps"]}
        if reply["experiment"]["reason"] == "override":
            assert (steps["override"]["arm"], "slot" in steps) == ("dtn", False)
        else:
            assert steps["slot"]["input"] == f"ranking:{user}"
    assert client.get("/experiments/explain").status_code == 422
    assert client.get("/experiments/explain").headers["content-type"] == "application/problem+json"


def test_an_arm_of_the_caller_needs_permission(settings: Settings) -> None:
    with running(settings.model_copy(update={"allow_arm_override": False})) as client:
        status, problem = client.score({"user": {"id": "u1"}, "item_ids": ["i1"], "arm": "dtn"})
        assert (status, problem["type"]) == (403, "urn:twinscore:problem:override-not-allowed")
        assert client.score({"user": {"id": "u1"}, "item_ids": ["i1"]})[0] == 200


def test_a_user_keeps_an_arm_and_users_split(client: Client) -> None:
    def arm(user: str) -> str:
        reply = client.score({"user": {"id": user}, "item_ids": ["i1"]})[1]
        assert reply["experiment"]["reason"] == "assigned"
        assert reply["model"]["name"] == reply["experiment"]["arm"]
        return str(reply["experiment"]["arm"])

    first = {f"user-{i}": arm(f"user-{i}") for i in range(60)}
    assert {user: arm(user) for user in reversed(first)} == first
    assert 15 < sum(value == "dtn" for value in first.values()) < 45
