"""`python -m service readout`: a real Redis, what is printed, and one line for each mistake."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from contract.command import run
from service.experiments import keys
from service.experiments.change.versions import Version
from service.experiments.outcomes.sums import ExperimentSums
from service.experiments.readout.command import main
from service.experiments.readout.report import Readout
from service.experiments.readout.stored import weights_of
from tests.service.experiments.readout.users import counted, draw, sums

TEXT = """\
version: {version}
default_model: ple
layers:
  - name: ranking
    salt: ranking
    experiments:
      - key: dtn-vs-ple
        phase: {phase}
        salt: dtn-vs-ple.1
        slots: [[0, 10000]]
        arms:
          - {{name: ple, model: ple, weight: {ple}}}
          - {{name: dtn, model: dtn, weight: {dtn}}}
"""
Printed = pytest.CaptureFixture[str]


def text(version: int = 3, phase: int = 2, ple: int = 5000) -> str:
    return TEXT.format(version=version, phase=phase, ple=ple, dtn=10_000 - ple)


@pytest.fixture
def redis(redis_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """An empty Redis, and a file with the configuration."""
    (tmp_path / "experiments.yaml").write_text(text())
    monkeypatch.setenv("REDIS_URL", redis_address)
    monkeypatch.setenv("TWINSCORE_EXPERIMENTS", str(tmp_path / "experiments.yaml"))
    with Redis.from_url(redis_address) as client:
        client.flushall()
        yield client


def store(redis: Redis, found: ExperimentSums) -> None:
    redis.set(keys.sums("twinscore", found.key, found.phase), found.model_dump_json())


def read(printed: Printed, *argv: str) -> Readout:
    assert main(["dtn-vs-ple", "--json", *argv]) == 0
    return Readout.model_validate_json(printed.readouterr().out)


def refused(printed: Printed, *argv: str) -> str:
    assert run(lambda: main(list(argv))) == 2
    found = printed.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    return found.err


def test_the_newest_phase_is_printed(redis: Redis, capsys: Printed) -> None:
    for phase, users in ((1, 500), (2, 700)):
        store(redis, sums(phase=phase, ple=counted(draw(users)), dtn=counted(draw(users))))
    found = read(capsys)
    assert (found.phase, found.config_version, found.arms[0].users) == (2, 3, 700)
    assert read(capsys, "--phase", "1").arms[0].users == 500
    assert main(["dtn-vs-ple"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(found.verdict.sentence.split(":")[0])
    assert "dtn-vs-ple, phase 2, since 2026-" in page


def test_an_older_phase_stands_in_and_is_said(redis: Redis, capsys: Printed) -> None:
    store(redis, sums(phase=1, ple=counted(draw(500)), dtn=counted(draw(500))))
    assert "this is phase 1; the configuration is at phase 2" in read(capsys).warnings


def test_the_text_in_redis_comes_before_the_file(redis: Redis, capsys: Printed) -> None:
    store(redis, sums(phase=2, ple=counted(draw(500)), dtn=counted(draw(500))))
    redis.set(keys.live("twinscore"), text(version=9))
    assert read(capsys).config_version == 9


def test_users_of_old_versions_are_held_to_their_weights(redis: Redis, capsys: Printed) -> None:
    old = Version(version=1, time=datetime.now(UTC), author="a", text=text(version=1, ple=9000))
    redis.hset(keys.versions("twinscore"), "1", old.model_dump_json())
    redis.hset(keys.versions("twinscore"), "2", "not a version")
    found = sums(phase=2, ple=counted(draw(900), versions={1: 890, 2: 10}), dtn=counted(draw(100)))
    assert weights_of(redis, "twinscore", found) == {1: {"ple": 9000, "dtn": 1000}}
    store(redis, found)
    assert not read(capsys).sample_ratio.alarm


def test_mistakes_are_one_line(redis: Redis, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no experiment 'dtn'; known: dtn-vs-ple" in refused(capsys, "dtn")
    assert "nothing was counted of 'dtn-vs-ple' yet; run `python -m service outcomes`" in refused(capsys, "dtn-vs-ple")
    assert "nothing was counted of phase 7 of 'dtn-vs-ple'" in refused(capsys, "dtn-vs-ple", "--phase", "7")
    redis.set(keys.sums("twinscore", "dtn-vs-ple", 2), json.dumps({"key": 1}))
    assert "twinscore:outcomes:sums:dtn-vs-ple:2: not the sums of an experiment" in refused(capsys, "dtn-vs-ple")
    redis.set(keys.live("twinscore"), "version: [")
    assert "not valid YAML" in refused(capsys, "dtn-vs-ple")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert "Redis at redis://127.0.0.1:1 cannot be read" in refused(capsys, "dtn-vs-ple")
    monkeypatch.setenv("REDIS_URL", "nonsense")
    assert "REDIS_URL: " in refused(capsys, "dtn-vs-ple")
