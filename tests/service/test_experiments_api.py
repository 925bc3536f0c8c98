"""PUT /experiments, its versions, rollback and explain, as a caller meets them."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis

from service.experiments.change.editing import renumbered
from service.settings import Settings
from tests.service.bundles import write_tiny_bundle
from tests.service.conftest import EXPERIMENTS, Bundles, Client, running
from tests.service.test_main import serving

HEADERS = {"Authorization": "Bearer t", "X-Author": "ann"}
LIVE = "twinscore:experiments:live"


def text(version: int, of: str = EXPERIMENTS) -> str:
    return renumbered(of, version)


@pytest.fixture
def admin(settings: Settings) -> Iterator[Client]:
    with running(settings.model_copy(update={"admin_token": SecretStr("t")})) as client:
        yield client


def put(client: Client, body: str | bytes, query: str = "", **headers: str) -> httpx.Response:
    job = client.http.put(f"/experiments{query}", content=body, headers=HEADERS | headers)
    reply: httpx.Response = client.run(job)
    return reply


def problem(reply: httpx.Response) -> tuple[int, str, str]:
    told = reply.json()
    return reply.status_code, told["type"].removeprefix("urn:twinscore:problem:"), told["detail"]


def versions(client: Client, **parameters: str) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/experiments/versions", **parameters).json()
    return told


def test_a_change_is_answered_shown_and_kept(admin: Client) -> None:
    reply = put(admin, text(8, EXPERIMENTS.replace("u-qa-1", "u-qa-9")), "?note=another tester")
    told = reply.json()
    assert (reply.status_code, told["version"], told["author"], told["note"]) == (200, 8, "ann", "another tester")
    assert "+        overrides: {u-qa-9: dtn, 42: ple}" in told["diff"]
    assert "text" not in told
    assert admin.get("/experiments").json()["version"] == 8
    history = versions(admin)
    assert (history["version"], history["author"], history["refused"]) == (8, "ann", [])
    assert [version["version"] for version in history["versions"]] == [8, 7]
    assert "text" not in history["versions"][0]
    assert versions(admin, text="true")["versions"][1]["text"] == EXPERIMENTS


def test_json_will_do_and_a_check_changes_nothing(admin: Client, redis: Redis) -> None:
    config = admin.get("/experiments").json() | {"version": 8}
    body = json.dumps(config, indent="\t")
    checked = put(admin, body, "?check=true", **{"Content-Type": "application/json"})
    assert (checked.status_code, checked.json()["text"]) == (200, body.replace("\t", " "))
    assert redis.get(LIVE) == EXPERIMENTS.encode()
    assert put(admin, body, **{"Content-Type": "application/json"}).status_code == 200
    assert admin.get("/experiments").json() == config


@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        (EXPERIMENTS, 409, "stale-version", "version 7 is in force; send yours as version 8"),
        (text(8).replace("salt: ranking", "salt: 3"), 422, "invalid-experiments", "body:5: "),
        (text(8) + "extra: 1\n", 422, "invalid-experiments", "body:14: extra: unknown key"),
        ("a: [", 422, "invalid-experiments", "body:1: not valid YAML"),
        (b"\xff", 422, "invalid-experiments", "body: not UTF-8"),
        (text(8).replace("model: dtn", "model: nobody"), 422, "invalid-experiments", "body:12: model 'nobody': "),
        (text(8).replace("dtn-vs-ple.1", "other"), 422, "invalid-experiments", "phase"),
        ("x" * (2 << 20), 413, "body-too-large", "at most"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_published(
    admin: Client, redis: Redis, body: str | bytes, status: int, kind: str, said: str
) -> None:
    told = problem(put(admin, body))
    assert told[:2] == (status, kind)
    assert said in told[2]
    assert redis.get(LIVE) == EXPERIMENTS.encode()
    assert admin.get("/experiments").json()["version"] == 7


def test_a_bundle_that_fails_its_golden_cases_is_refused(settings: Settings, tmp_path: Path, redis: Redis) -> None:
    root = tmp_path / "own"
    for name in ("ple", "dtn"):
        write_tiny_bundle(root, name, 1)
    write_tiny_bundle(root, "astray", 3, golden_shift=1e-3)
    with running(settings.model_copy(update={"bundles": root, "admin_token": SecretStr("t")})) as client:
        status, _, detail = problem(put(client, text(8).replace("default_model: ple", "default_model: astray")))
        assert (status, "model 'astray'" in detail, "golden case 0" in detail) == (422, True, True)
        assert redis.get(LIVE) == EXPERIMENTS.encode()


def test_of_two_at_once_one_is_told_to_try_again(admin: Client) -> None:
    async def both() -> list[int]:
        sent = (admin.http.put("/experiments", content=text(8), headers=HEADERS) for _ in range(4))
        return sorted(reply.status_code for reply in await asyncio.gather(*sent))

    assert admin.run(both()) == [200, 409, 409, 409]


def test_a_rollback_is_a_new_version_and_keeps_comments(admin: Client) -> None:
    commented = text(8, EXPERIMENTS.replace("version: 7", "version: 7  # ours"))
    put(admin, commented)
    put(admin, text(9).replace("dtn-vs-ple.1", "dtn-vs-ple.2\n        phase: 2"))

    def back(body: dict[str, Any]) -> httpx.Response:
        reply: httpx.Response = admin.run(admin.http.post("/experiments/rollback", json=body, headers=HEADERS))
        return reply

    reply = back({"version": 8, "note": "slow"})
    assert (reply.status_code, reply.json()["version"]) == (200, 10)
    assert re.match(r"rollback to version 8; slow; it moves users: .*'dtn-vs-ple'", reply.json()["note"])
    newest = versions(admin, text="true")["versions"][0]
    assert newest["text"] == commented.replace("version: 8", "version: 10")
    assert problem(back({"version": 99}))[:2] == (404, "unknown-version")
    assert back({"version": "x"}).status_code == 422
    unasked = admin.run(admin.http.post("/experiments/rollback", json={"version": 8}))
    assert unasked.status_code == 401


def test_without_redis_it_says_so_and_goes_on(settings: Settings) -> None:
    down = {"redis_url": "redis://127.0.0.1:1", "admin_token": SecretStr("t")}
    with running(settings.model_copy(update=down)) as client:
        status, kind, detail = problem(put(client, text(8)))
        assert (status, kind, detail.endswith("; version 7 stays in force")) == (503, "redis-down", True)
        history = versions(client)
        assert (history["version"], history["versions"]) == (7, [])
        assert history["redis"].startswith("Error 111 connecting to 127.0.0.1:1")
        assert client.score({"user": {"id": "u1"}, "item_ids": ["i1"]})[0] == 200


def test_where_the_file_alone_says_nothing_else_does(settings: Settings, redis: Redis) -> None:
    redis.set(LIVE, text(9))
    alone = settings.model_copy(update={"live": False, "admin_token": SecretStr("t")})
    with running(alone) as client:
        assert problem(put(client, text(8)))[0] == 403
        client.run(client.service.live.kill("dtn-vs-ple", "slow"))
        assert client.get("/experiments").json()["version"] == 8  # killed here
    with running(alone) as client:
        assert client.get("/experiments").json()["version"] == 7
    assert redis.keys("twinscore:experiments:*") == [LIVE.encode()]


def test_explain_takes_a_context(client: Client) -> None:
    told = client.get("/experiments/explain", user_id="u1", context='{"scene": "home"}')
    assert told.status_code == 200
    for context in ("{", "[]", "7"):
        status, kind, detail = problem(client.get("/experiments/explain", user_id="u1", context=context))
        assert (status, kind, detail.startswith("query.context: ")) == (422, "invalid-request", True)


@pytest.mark.slow
def test_two_workers_both_follow_within_two_seconds(
    tmp_path: Path, bundles: Bundles, redis: Redis, redis_address: str
) -> None:
    """A change through one worker shows in replies of both, while both are asked all the time: no request fails."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "experiments.yaml").write_text(EXPERIMENTS)
    (tmp_path / "bundles").symlink_to(bundles.root)
    variables = {"REDIS_URL": redis_address, "TWINSCORE_WORKERS": "2", "TWINSCORE_ADMIN_TOKEN": "t"}
    with serving(tmp_path, **variables) as (_, address, _), ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def ask() -> list[tuple[float, int]]:
            """Over one connection, so of one worker: when which version answered."""
            told = []
            with httpx.Client(base_url=address) as one:
                while not stop.is_set():
                    reply = one.post("/score", json={"user": {"id": "u1"}, "item_ids": ["i1"]})
                    assert reply.status_code == 200
                    told.append((time.monotonic(), reply.json()["experiment"]["config_version"]))
                    time.sleep(0.005)
            return told

        asking = [pool.submit(ask) for _ in range(4)]
        time.sleep(0.3)
        began = time.monotonic()
        reply = httpx.put(f"{address}/experiments", content=text(8), headers=HEADERS)
        assert reply.status_code == 200, reply.text
        time.sleep(1.8)
        stop.set()
        delays = []
        for each in asking:
            told = each.result()
            numbers = [number for _, number in told]
            assert numbers == sorted(numbers)
            delays.append(next(moment for moment, number in told if number == 8) - began)
        print(f"seconds until each connection saw it: {[round(delay, 2) for delay in delays]}")
        assert max(delays) < 2
