"""What follows from new sums, in a real Redis: which phase is read out, and versions with new weights."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from service.experiments import keys
from service.experiments.change.versions import read_live
from service.experiments.outcomes.publishing import publish
from service.experiments.outcomes.sums import ExperimentSums
from service.experiments.readout.report import Readout
from service.settings import Settings
from tests.service.experiments.readout.test_command import text
from tests.service.experiments.readout.users import counted, draw, sums


@pytest.fixture
def redis(redis_address: str) -> Iterator[Redis]:
    """An empty one."""
    with Redis.from_url(redis_address) as client:
        client.flushall()
        yield client
        client.flushall()


def stored(redis: Redis, file: Path, content: str, *phases: ExperimentSums) -> Readout:
    """The readout after these sums."""
    file.write_text(content)
    found = {f"{each.key}/{each.phase}": each for each in phases}
    assert publish(redis, Settings(experiments=file), found, found) is None
    told = redis.get(keys.readout("twinscore", "dtn-vs-ple"))
    assert isinstance(told, bytes)
    return Readout.model_validate_json(told)


def test_a_phase_is_read_out_until_the_next_has_users(redis: Redis, tmp_path: Path) -> None:
    old = sums(phase=1, ple=counted(draw(500)), dtn=counted(draw(400)))
    empty = ExperimentSums(key="dtn-vs-ple", phase=2, first=0, last=0)
    new = sums(phase=2, ple=counted(draw(300)), dtn=counted(draw(300)))
    later = sums(phase=3, ple=counted(draw(200)), dtn=counted(draw(200)))
    assert stored(redis, tmp_path / "e", text(phase=2), old).phase == 1
    assert stored(redis, tmp_path / "e", text(phase=2), old, empty).phase == 1
    assert stored(redis, tmp_path / "e", text(phase=2), old, new, later).phase == 2


def test_thompson_publishes_once_upon_the_text_that_it_read(redis: Redis, tmp_path: Path) -> None:
    content = text(version=7, phase=1) + "        thompson: {hours: 24, floor: 1000}\n"
    old = sums(phase=1, ple=counted(draw(1500)), dtn=counted(draw(1500, lift=1.0)))
    for _ in range(2):
        stored(redis, tmp_path / "e", content, old)
    assert sorted(redis.hkeys(keys.versions("twinscore"))) == [b"7", b"8"]
    live = read_live(redis, "twinscore")
    assert live is not None
    experiment = live.config.experiment("dtn-vs-ple")
    assert experiment is not None
    assert experiment.phase == 2
    assert experiment.arms[1].weight > 7000
