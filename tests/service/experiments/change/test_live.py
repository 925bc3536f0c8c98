"""A configuration that changes while requests are served: what reaches them, what is refused, what survives."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from contract.local_redis import private_redis
from service.experiments.change.editing import renumbered
from service.experiments.change.following import Origin
from service.experiments.change.versions import UNREACHABLE, publish_sync
from service.scoring.shelf import Shelf
from service.settings import Settings
from tests.service.bundles import write_tiny_bundle
from tests.service.conftest import EXPERIMENTS, Client, running

LIVE = "twinscore:experiments:live"
KEY = "dtn-vs-ple"
ALL_PLE = EXPERIMENTS.replace("model: dtn,", "model: ple,")  # the same arms, of one model
MOVES = EXPERIMENTS.replace("salt: dtn-vs-ple.1", "salt: another")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.experiments.change.following.POLL_SECONDS", 0.02)


def text(version: int, of: str = EXPERIMENTS) -> str:
    return renumbered(of, version)


def until(client: Client, said: Callable[[], bool]) -> None:
    """Let the app run until it is so; it must become so."""
    deadline = time.monotonic() + 15
    while not said():
        assert time.monotonic() < deadline
        client.run(asyncio.sleep(0.01))


def in_force(client: Client) -> int:
    return int(client.score({"user": {"id": "u1"}, "item_ids": ["i1"]})[1]["experiment"]["config_version"])


def refused(client: Client, origin: Origin) -> str | None:
    """Why, or None."""
    refusal = client.service.live.following.refused.get(origin)
    return None if refusal is None else refusal.reason


def change(client: Client, content: str) -> int:
    return int(client.run(client.service.live.change(content, "body", "test")).version)


def authors(client: Client) -> list[tuple[int, str]]:
    return [(version.version, version.author) for version in client.run(client.service.live.versions.history())]


def test_a_fresh_redis_gets_the_file(client: Client, settings: Settings, redis: Redis) -> None:
    assert redis.get(LIVE) == EXPERIMENTS.encode()
    [(version, author)] = authors(client)
    assert (version, author.split(":")[0], author.split(":")[2]) == (7, "file", str(settings.experiments))
    assert client.metric("twinscore_experiments_version") == 7


def test_a_change_in_one_process_reaches_another(client: Client, settings: Settings) -> None:
    with running(settings) as other:
        assert change(client, text(8)) == 8
        assert in_force(client) == 8
        until(other, lambda: in_force(other) == 8)
        assert authors(other)[0] == (8, "test")


def test_an_edit_of_the_file_is_taken_and_published(client: Client, settings: Settings, redis: Redis) -> None:
    settings.experiments.write_text(text(9))
    until(client, lambda: in_force(client) == 9)
    assert redis.get(LIVE) == text(9).encode()
    assert authors(client)[0][1].startswith("file:")


def test_a_file_that_is_wrong_is_refused_once_and_then_mended(
    client: Client, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    settings.experiments.write_text(text(8).replace("weight: 5000", "weight: 4000", 1))
    until(client, lambda: refused(client, "file") is not None)
    client.run(asyncio.sleep(0.2))
    [said] = capfd.readouterr().err.splitlines()
    assert said.startswith(f"warning: {settings.experiments}:")
    assert said.endswith("sum to 9000; they must sum to 10000; version 7 stays in force")
    assert client.metric('twinscore_experiments_refused{origin="file"}') == 1
    assert in_force(client) == 7
    settings.experiments.write_text(text(8))
    until(client, lambda: in_force(client) == 8)
    until(client, lambda: refused(client, "file") is None)
    assert client.metric('twinscore_experiments_refused{origin="file"}') == 0
    assert capfd.readouterr().err == ""


def test_an_edit_needs_a_higher_version_and_must_move_nobody(client: Client, settings: Settings) -> None:
    for content, reason in (
        (EXPERIMENTS + "# more\n", f"{settings.experiments}:1: version 7 is in force with another content; raise"),
        (text(6), f"{settings.experiments}:1: version 7 is in force; raise `version` to 8"),
        (text(8, MOVES), "phase"),
    ):
        settings.experiments.write_text(content)
        until(client, lambda reason=reason: reason in (refused(client, "file") or ""))  # type: ignore[misc]
    settings.experiments.unlink()
    until(client, lambda: "no such file" in (refused(client, "file") or ""))
    assert in_force(client) == 7


def test_a_file_half_written_is_not_read(client: Client, settings: Settings) -> None:
    following = client.service.live.following
    settings.experiments.write_text("version: 8\ndefault_model: ple\n")
    following._file.changed()
    settings.experiments.write_text(text(8))
    until(client, lambda: in_force(client) == 8)
    assert [number for number, _ in authors(client)] == [8, 7]
    assert client.service.source.config.layers


def test_the_key_in_redis_may_be_set_by_hand(client: Client, redis: Redis, settings: Settings) -> None:
    with running(settings) as other:
        redis.set(LIVE, text(9))
        until(client, lambda: in_force(client) == 9)
        until(other, lambda: in_force(other) == 9)
        assert authors(other)[0] == (9, "redis")
        for content, reason in ((b"{", f"Redis key {LIVE}:1: not valid YAML"), (text(4).encode(), "raise `version`")):
            redis.set(LIVE, content)
            until(client, lambda reason=reason: reason in (refused(client, "redis") or ""))  # type: ignore[misc]
            assert in_force(client) == 9
    with running(settings) as third:  # the history has the last good one
        assert in_force(third) == 9
    assert change(client, text(10)) == 10
    until(client, lambda: refused(client, "redis") is None)
    redis.delete(LIVE)
    until(client, lambda: redis.get(LIVE) == text(10).encode())


def test_a_redis_that_lost_all_gets_it_back(client: Client, redis: Redis) -> None:
    change(client, text(8))
    redis.flushall()
    until(client, lambda: redis.get(LIVE) == text(8).encode())
    assert authors(client) == [(8, "test")]


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


def test_it_survives_redis_and_a_restart_without_it(
    settings: Settings, own_redis: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with private_redis(own_redis) as url:
        settings = settings.model_copy(update={"redis_url": url})
        with running(settings) as client:
            change(client, text(8))
            until(client, lambda: (settings.state / "experiments.yaml").read_text() == text(8))
    with running(settings) as client:  # Redis is gone
        assert in_force(client) == 8
        assert f"version 8, kept in {settings.state}/experiments.yaml, is in force" in capfd.readouterr().err
        with pytest.raises(UNREACHABLE):
            change(client, text(9))
        settings.experiments.write_text(text(9))
        until(client, lambda: in_force(client) == 9)
        client.run(client.service.live.kill(KEY, "p99 of 900 ms"))
        assert client.score({"user": {"id": "u1"}, "item_ids": ["i1"]})[1]["experiment"]["reason"] == "killed"
        capfd.readouterr()
        with private_redis(own_redis):
            until(client, lambda: [number for number, _ in authors_or_none(client)][:2] == [10, 8])
            assert authors(client)[0] == (10, "guardrail")
            until(client, lambda: "Redis answers again; version 10 is in force" in capfd.readouterr().err)
        client.run(asyncio.sleep(0.2))
        said = capfd.readouterr().err.splitlines()
        assert [line.startswith("warning: Redis: ") for line in said] == [True]


def authors_or_none(client: Client) -> list[tuple[int, str]]:
    try:
        return authors(client)
    except UNREACHABLE:
        return []


def test_a_kill_is_published_once_by_whoever_comes_first(client: Client, settings: Settings) -> None:
    with running(settings) as other:
        for each in (client, other, client):
            each.run(each.service.live.kill(KEY, "errors 12 %"))
            each.run(each.service.live.kill("nothing", "x"))
            experiment = each.service.source.config.experiment(KEY)
            assert experiment is not None
            assert experiment.killed
        until(client, lambda: in_force(client) == in_force(other) == 8)
        [first, _] = client.run(client.service.live.versions.history())
        assert (first.author, first.note) == ("guardrail", f"{KEY}: errors 12 %")
        assert [line for line in first.diff if line[0] in "+-"] == [
            "-version: 7",
            "+version: 8",
            "+        killed: true",
        ]


def test_a_kill_of_an_old_phase_leaves_a_new_one(client: Client, settings: Settings, redis: Redis) -> None:
    new = text(8, EXPERIMENTS.replace("salt: dtn-vs-ple.1", "phase: 2"))
    publish_sync(redis, "twinscore", new, "test", "")  # this process has not seen it yet
    client.run(client.service.live.kill(KEY, "slow"))
    until(client, lambda: client.service.source.text == new)
    assert [number for number, _ in authors(client)] == [8, 7]


def test_requests_keep_the_plan_they_began_with(client: Client) -> None:
    async def job() -> set[tuple[int, str]]:
        async def ask() -> tuple[int, str]:
            body = {"user": {"id": "u-qa-1"}, "item_ids": ["i1"]}
            reply = (await client.http.post("/score", json=body)).json()
            return reply["experiment"]["config_version"], reply["model"]["name"]

        asked = [asyncio.ensure_future(ask()) for _ in range(40)]
        await asyncio.sleep(0)
        await client.service.live.change(text(8, ALL_PLE.replace("5000", "5000 ")), "body", "test")
        return set(await asyncio.gather(*asked, ask()))

    assert {(8, "ple")} <= client.run(job()) <= {(7, "dtn"), (8, "ple")}


class TestModels:
    """Models that come and go."""

    @pytest.fixture
    def own(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
        """A service with bundles of its own, that keeps no model warm."""
        monkeypatch.setattr(Shelf.__init__, "__defaults__", (0.0,))
        for seed, name in enumerate(("ple", "dtn"), 1):
            write_tiny_bundle(tmp_path / "own", name, seed)
        with running(settings.model_copy(update={"bundles": tmp_path / "own"})) as client:
            yield client

    def test_a_new_one_is_loaded_and_an_old_one_leaves(self, own: Client) -> None:
        write_tiny_bundle(own.service.settings.bundles, "esmm", 3)
        served = own.service.models["dtn"]
        batcher = served.batcher
        change(
            own, text(8, EXPERIMENTS.replace("model: dtn,", "model: esmm,").replace("salt: dtn-vs-ple.1", "phase: 2"))
        )
        assert {model["name"] for model in own.get("/models").json()} == {"ple", "esmm"}
        own.run(asyncio.sleep(0.1))
        assert 'model="dtn"' not in "".join(
            line for line in own.get("/metrics").text.splitlines() if line.startswith("twinscore_model_info")
        )
        assert not batcher._closed  # somebody holds it, as a request does
        del served
        until(own, lambda: batcher._closed)
        assert own.score({"user": {"id": "u-qa-1"}, "item_ids": ["i1"]})[1]["model"]["name"] == "esmm"

    def test_one_that_comes_later_is_tried_again(self, own: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("service.experiments.change.following._AGAIN_SECONDS", 0.05)
        own.service.settings.experiments.write_text(
            text(8, EXPERIMENTS + "  # x\n").replace("default_model: ple", "default_model: late")
        )
        until(own, lambda: "model 'late'" in (refused(own, "file") or ""))
        assert in_force(own) == 7
        write_tiny_bundle(own.service.settings.bundles, "late", 4)
        until(own, lambda: in_force(own) == 8)
        until(own, lambda: refused(own, "file") is None)

    def test_a_start_whose_newest_models_are_missing_falls_back(
        self, settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for seed, name in enumerate(("ple", "dtn", "esmm"), 1):
            write_tiny_bundle(tmp_path / "own", name, seed)
        own = settings.model_copy(update={"bundles": tmp_path / "own"})
        newer = text(8, EXPERIMENTS.replace("default_model: ple", "default_model: esmm"))
        with running(own) as client:
            change(client, newer)
        shutil.rmtree(tmp_path / "own" / "esmm")
        with running(own) as client:
            assert in_force(client) == 7
            assert "is in force: version 8 of Redis:2: model 'esmm'" in capfd.readouterr().err
            write_tiny_bundle(tmp_path / "own", "esmm", 3)
        with running(own) as client:
            until(client, lambda: in_force(client) == 8)
