"""The console over HTTP: headers, problems, what is said when something is missing."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from redis import Redis

from service.console.facts import Facts, State
from service.experiments import keys
from service.experiments.config import Arm, Experiment, Experiments
from service.settings import Settings
from tests.service.conftest import running
from tests.service.console.conftest import CONFIGURATION, TOKEN
from tests.service.console.sample import readout

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_pages_are_kept_to_our_own_files_and_by_nobody(address: str) -> None:
    headers = httpx.get(f"{address}/console").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_static_files_are_those_of_one_folder(address: str) -> None:
    assert httpx.get(f"{address}/console/static/console.css").headers["content-type"] == "text/css; charset=utf-8"
    for name in ("..%2Fpage.py", "%2Fetc%2Fpasswd", "console.html", "", "."):
        assert httpx.get(f"{address}/console/static/{name}").status_code == 404, name


def test_an_unknown_experiment_is_a_page_that_leads_back(address: str) -> None:
    reply = httpx.get(f"{address}/console/experiments/%3Cscript%3E")
    assert reply.status_code == 404
    assert "has no experiment &#39;&lt;script&gt;&#39;" in reply.text
    assert 'href="/console"' in reply.text


BAD = [
    ("version: 8\ndefault_model: mmoe\n", "text:2: model 'mmoe': "),
    (CONFIGURATION.replace("salt: ranking", "sallt: ranking"), "text:5: layers.0.sallt: unknown key"),
    ("version: [", "text:1: not valid YAML"),
    ("\ud800", "the text is not UTF-8"),
]


@pytest.mark.parametrize(("text", "detail"), BAD)
def test_a_bad_text_is_refused_with_its_line(address: str, text: str, detail: str) -> None:
    reply = httpx.post(f"{address}/console/check", content=text.encode(errors="surrogatepass"))
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith(detail)


def test_a_check_says_what_would_change_and_changes_nothing(address: str) -> None:
    text = CONFIGURATION.replace("version: 7", "version: 8").replace("killed: true", "phase: 2")
    text = text.replace("weight: 9000", "weight: 8000").replace("weight: 1000", "weight: 2000")
    checked = httpx.post(f"{address}/console/check", content=text).json()
    assert checked["version"] == 8
    assert checked["moved"]["older-model"] > 0
    assert checked["refusals"] == []
    assert any("older-model: phase: 1 → 2" in line for line in checked["changes"])
    assert "+          - {name: control, weight: 8000}" in checked["lines"]
    assert httpx.get(f"{address}/experiments").json()["version"] == 7


def test_a_check_longer_than_any_body_is_refused(address: str, settings: Settings) -> None:
    reply = httpx.post(f"{address}/console/check", content=b" " * (settings.max_body_bytes + 1))
    assert reply.status_code == 413


def test_without_redis_the_pages_say_so_and_show_the_rest(settings: Settings, tmp_path: Path) -> None:
    alone = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1", "state": tmp_path})
    with running(alone) as client:
        for path in ("/console", "/console/experiments/dtn-vs-ple", "/console/configuration", "/console/models"):
            page = client.get(path).text
            assert "Readouts and the health of arms are not known now; scoring goes on." in page
            assert "dtn" in page
        tried = client.get("/console/try", user_id="u1", items="i1").text
        assert "degraded: features:redis-unavailable" in tried


def test_before_the_models_are_loaded_the_page_says_so_and_looks_again(settings: Settings) -> None:
    with running(settings, wait=False) as client:
        reply = client.get("/console")
        assert reply.status_code == 503
        assert "models are being loaded" in reply.text
        assert '<meta http-equiv="refresh" content="3">' in reply.text
        client.run(client.service.loaded.wait())
        assert client.get("/console").status_code == 200


def test_a_stored_readout_of_another_shape_is_said_and_not_shown(settings: Settings, stored: Redis) -> None:
    key = keys.readout("twinscore", "dtn-vs-ple")
    stored.set(key, '{"key": "dtn-vs-ple"}')
    try:
        with running(settings) as client:
            page = client.get("/console").text
            assert "The stored readout of &#39;dtn-vs-ple&#39; cannot be read" in page
            assert page.count("No readout yet") == 2
    finally:
        stored.set(key, readout().model_dump_json())


def test_a_form_that_is_wrong_says_what(settings: Settings) -> None:
    with running(settings.model_copy(update={"allow_arm_override": False})) as client:
        assert "The context is not an object" in client.get("/console/try", user_id="u", context="[1]").text
        too_long = client.get("/console/try", user_id="u" * 300, items="i1").text
        assert "user.id: longer than 256 bytes" in too_long
        forced = client.get("/console/try", user_id="u1", arm="dtn").text
        assert "Choosing an arm needs TWINSCORE_ALLOW_ARM_OVERRIDE=true." in forced
        assert "Decision</h2>" not in forced


def test_no_page_knows_the_token(settings: Settings) -> None:
    with running(settings) as client:
        for path in ("/console", "/console/configuration", "/console/models", "/console/try"):
            assert TOKEN not in client.get(path).text


@pytest.mark.slow
def test_templates_and_statistics_are_not_loaded_before_somebody_looks() -> None:
    code = "import sys, service.app; print(*{'jinja2', 'scipy', 'tea_tasting'}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def experiment(**more: object) -> Experiment:
    content = {"key": "a", "slots": ((0, 10),), "arms": (Arm(name="x", weight=10_000),)} | more
    return Experiment.model_validate(content)


def facts(each: Experiment, *, killed: bool = False) -> Facts:
    return Facts(Experiments(version=1, default_model="m", killed=killed), "", "", NOW, {each.key: readout(each.key)})


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, State("running")),
        ({"killed": True}, State("killed", "its users meet the default model")),
        ({"start": NOW + timedelta(hours=1)}, State("scheduled", "starts 2026-11-22 01:00 UTC")),
        ({"end": NOW}, State("ended", "since 2026-11-22 00:00 UTC")),
        ({"end": NOW + timedelta(days=1)}, State("running", "until 2026-11-23 00:00 UTC")),
    ],
)
def test_the_state_is_that_of_the_configuration_now(more: dict[str, object], state: State) -> None:
    each = experiment(**more)
    assert facts(each).state(each) == state
    assert facts(each, killed=True).state(each).name == "killed"


def test_a_readout_of_an_earlier_phase_is_not_shown_as_this_one() -> None:
    each = experiment(phase=2)
    assert facts(each).readout(each) is None
    assert facts(experiment()).readout(experiment()) is not None
