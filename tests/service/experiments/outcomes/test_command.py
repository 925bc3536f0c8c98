"""The commands as a person meets them: --once, status, recompute, and what they refuse."""

from pathlib import Path

import orjson
import pytest
from redis import Redis

from contract.errors import ConfigError, StoreError
from service.experiments import keys
from service.experiments.outcomes.command import main
from service.experiments.outcomes.lease import Lease
from service.experiments.outcomes.recompute import recompute
from service.experiments.outcomes.running import run
from service.experiments.outcomes.store import read_sums
from service.settings import Settings
from tests.service.experiments.outcomes.logs import EXPERIMENTS, assert_equal, draw, write
from tests.service.experiments.outcomes.reference import DAY


@pytest.fixture
def counting(tmp_path: Path, redis: Redis) -> Settings:
    """Settings of a log that is written and not yet counted."""
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)
    write(tmp_path / "log", draw(300, 1, days=3, latest=4 * DAY))
    return Settings(
        experiments=tmp_path / "experiments.yaml", log=f"file:{tmp_path / 'log'}", archive=tmp_path / "archive",
        redis_prefix="t",
    )  # fmt: skip


def test_once_counts_reads_out_and_says_so(
    counting: Settings, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(redis, counting, once=True) == 0
    records = draw(300, 1, days=3, latest=4 * DAY)
    distinct = len({(each["producer"], each["number"]) for each in records})
    assert f"; in all {distinct}, {len(records) - distinct} read twice, 0 too late" in capsys.readouterr().out
    found = {f"{key}/1": read_sums(redis, "t", key, 1) for key in ("short", "long")}
    assert_equal({name: sums for name, sums in found.items() if sums is not None}, records)
    assert found["short/1"] is not None
    assert found["short/1"].measure.click_hours == 2
    assert found["short/1"].snapshots
    for key in ("short", "long"):
        assert orjson.loads(redis.get(keys.readout("t", key)) or b"{}")["key"] == key


def test_recompute_finds_a_wrong_number_and_puts_it_right(
    counting: Settings, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    run(redis, counting, once=True)
    assert recompute(redis, counting, write=False) == 0
    assert "equal to the live sums" in capsys.readouterr().out
    key = keys.sums("t", "short", 1)
    right = orjson.loads(redis.get(key) or b"")
    right["arms"]["a"]["moments"]["products"][2] += 1
    redis.set(key, orjson.dumps(right))
    assert recompute(redis, counting, write=False) == 1
    assert "first difference at short/1.arms.a.moments.products.2: live" in capsys.readouterr().out
    assert recompute(redis, counting, write=True) == 0
    assert recompute(redis, counting, write=False) == 0


def test_recompute_says_that_batches_are_missing(counting: Settings, redis: Redis) -> None:
    run(redis, counting, once=True)
    for path in counting.archive.iterdir():
        path.unlink()
    with pytest.raises(StoreError, match="batches 1 to 1 are counted, but neither here nor in Redis"):
        recompute(redis, counting, write=False)


def test_another_archive_is_refused(counting: Settings, redis: Redis, tmp_path: Path) -> None:
    run(redis, counting, once=True)
    other = counting.model_copy(update={"redis_prefix": "u"})
    run(redis, other.model_copy(update={"archive": tmp_path / "other"}), once=True)
    with pytest.raises(ConfigError, match="the archive of other sums; set TWINSCORE_ARCHIVE"):
        run(redis, other, once=True)


def test_once_and_write_refuse_beside_another_consumer(counting: Settings, redis: Redis) -> None:
    assert Lease(redis, "t").other() is None
    with pytest.raises(StoreError, match=r"another consumer counts \(.*\); stop it first"):
        run(redis, counting, once=True)
    with pytest.raises(StoreError, match="stop it before --write"):
        recompute(redis, counting, write=True)


def test_status_says_how_far_it_is(
    counting: Settings, redis: Redis, redis_address: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, value in {
        "REDIS_URL": redis_address, "TWINSCORE_REDIS_PREFIX": "t", "TWINSCORE_LOG": counting.log,
        "TWINSCORE_ARCHIVE": str(counting.archive),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert main(["status"]) == 0
    assert "nothing yet" in capsys.readouterr().out
    run(redis, counting, once=True)
    capsys.readouterr()
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert "0 bytes behind" in said
    assert "1 files, the last 000000000001-000000000001.parquet; 0 batches wait" in said
    assert "short, phase 1: " in said


def test_a_log_that_is_off_is_refused(counting: Settings, redis: Redis) -> None:
    with pytest.raises(ConfigError, match="TWINSCORE_LOG=off: there is no log to count"):
        run(redis, counting.model_copy(update={"log": "off"}), once=True)
    with pytest.raises(ConfigError, match="TWINSCORE_LOG=kafka:here: write file:FOLDER, redis"):
        run(redis, counting.model_copy(update={"log": "kafka:here"}), once=True)
