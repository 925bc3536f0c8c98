"""Exactly once in effect: a consumer that dies at any step of its loop, or is killed at any moment."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from redis import Redis

from service.experiments import keys
from service.experiments.outcomes import consumer as consumer_module
from service.experiments.outcomes.archive import Archive
from service.experiments.outcomes.consumer import Consumer
from service.experiments.outcomes.lease import Lease
from service.experiments.outcomes.replay import Replay, counted_batches, first_difference
from service.experiments.outcomes.sources import LogSource
from service.experiments.outcomes.sources.file import FileSource
from service.experiments.outcomes.sources.redis import RedisSource
from service.experiments.outcomes.store import Overtaken, Store
from tests.service.experiments.outcomes.logs import EXPERIMENTS, assert_equal, draw, rules_of, write
from tests.service.experiments.outcomes.reference import DAY, Record

STEPS = ("read", "looked up", "counted", "committed", "archived", "unstaged", "trimmed")


class Died(BaseException):
    """Nothing catches it."""


class Fate:
    """Dies at a step, the n-th time that it comes."""

    def __init__(self, step: str, times: int) -> None:
        self._step, self._times = step, times

    def __call__(self, name: str) -> None:
        self._times -= name == self._step
        if self._times == 0 and name == self._step:
            raise Died


@pytest.fixture
def store(redis: Redis) -> Store:
    return Store(redis, "t")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "BATCH", 20)
    monkeypatch.setattr(consumer_module, "ARCHIVE_RECORDS", 40)


@pytest.fixture(params=["file", "redis"])
def source_of(request: pytest.FixtureRequest, tmp_path: Path, redis: Redis) -> Callable[[list[Record]], LogSource]:
    """A log of these records."""

    def made(records: list[Record]) -> LogSource:
        if request.param == "file":
            write(tmp_path / "log", records)
            return FileSource(tmp_path / "log")
        for record in records:
            redis.xadd(keys.log("t"), {"r": orjson.dumps(record)})
        return RedisSource("redis", redis, keys.log("t"))

    return made


def drain(consumer: Consumer) -> None:
    while consumer.round():
        pass
    consumer.flush()


def assert_replayed(store: Store, archive: Archive) -> None:
    """The archive alone gives the same sums, and has every batch once."""
    counted = store.load()
    assert counted.cursor is not None
    assert counted.staged == []
    replay = Replay(rules_of)
    replay.run(counted_batches(archive, counted.staged, counted.cursor.sequence))
    live, again = ({n: s.model_dump() for n, s in each.items()} for each in (counted.sums, replay.ledger.sums))
    assert first_difference(live, again) is None
    assert replay.records == counted.cursor.clock.records + counted.cursor.clock.repeated


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("step", STEPS)
def test_it_dies_at_a_step_and_goes_on(
    step: str, source_of: Callable[[list[Record]], LogSource], store: Store, tmp_path: Path
) -> None:
    records = draw(400, 3, days=3, latest=4 * DAY)
    source, archive = source_of(records), Archive(tmp_path / "archive")
    for times in (1, 2, 1, 3):
        with pytest.raises(Died):
            drain(Consumer(source, store, archive, rules_of, step=Fate(step, times)))
    drain(Consumer(source, store, archive, rules_of))
    assert_equal(store.load().sums, records)
    assert_replayed(store, archive)


@pytest.mark.usefixtures("small_batches")
def test_of_two_consumers_one_writes(redis: Redis, tmp_path: Path) -> None:
    records = draw(300, 4, days=3, latest=4 * DAY)
    write(tmp_path / "log", records)
    one, other = (
        Consumer(FileSource(tmp_path / "log"), Store(redis, "t"), Archive(tmp_path / "archive"), rules_of)
        for _ in range(2)
    )
    one.round()
    with pytest.raises(Overtaken):
        other.round()
    other.reload()
    other.round()
    with pytest.raises(Overtaken):
        one.round()
    other.flush()
    one.reload()
    drain(one)
    assert_equal(Store(redis, "t").load().sums, records)
    assert_replayed(Store(redis, "t"), Archive(tmp_path / "archive"))


@pytest.mark.usefixtures("small_batches")
def test_a_redis_that_lost_everything_is_rebuilt_from_the_archive(redis: Redis, tmp_path: Path) -> None:
    records = draw(300, 5, days=3, latest=4 * DAY)
    write(tmp_path / "log", records[:200])
    archive = Archive(tmp_path / "archive")
    drain(Consumer(FileSource(tmp_path / "log"), Store(redis, "t"), archive, rules_of))
    redis.flushall()
    write(tmp_path / "log", records[200:])
    consumer = Consumer(FileSource(tmp_path / "log"), Store(redis, "t"), archive, rules_of)
    assert consumer.rebuilt
    drain(consumer)
    assert consumer.records == len(records) - 200
    assert_equal(Store(redis, "t").load().sums, records)
    assert_replayed(Store(redis, "t"), archive)


@pytest.mark.usefixtures("small_batches")
def test_the_stream_is_trimmed_once_it_is_archived(redis: Redis, store: Store, tmp_path: Path) -> None:
    records = draw(300, 6, days=3, latest=4 * DAY)
    for record in records:
        redis.xadd(keys.log("t"), {"r": orjson.dumps(record)})
    consumer = Consumer(RedisSource("redis", redis, keys.log("t")), store, Archive(tmp_path / "archive"), rules_of)
    consumer.round()
    assert redis.xlen(keys.log("t")) == len(records)
    redis.config_set("stream-node-max-entries", 10)  # whole nodes are freed
    drain(consumer)
    assert redis.xlen(keys.log("t")) < len(records)


ENVIRONMENT = {"TWINSCORE_REDIS_PREFIX": "t", "TWINSCORE_LOG": "file:log", "TWINSCORE_ARCHIVE": "archive"}


@pytest.fixture
def outcomes(tmp_path: Path, redis_address: str, redis: Redis) -> Callable[..., subprocess.Popen[str]]:
    """The command, in a folder of its own."""
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)

    def started(*arguments: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TWINSCORE_")}
        environment |= ENVIRONMENT | {"REDIS_URL": redis_address, "PYTHONPATH": os.getcwd()}
        environment |= {"TWINSCORE_EXPERIMENTS": "experiments.yaml"}
        return subprocess.Popen(
            [sys.executable, "-m", "service", "outcomes", *arguments],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return started


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def kill_while_written(
    outcomes: Callable[..., subprocess.Popen[str]], folder: Path, records: list[Record], kills: int, redis: Redis
) -> None:
    """Kill -9 at random moments, the log growing meanwhile."""
    chunk, random_ = len(records) // kills + 1, random.Random(7)
    for start in range(0, len(records), chunk):
        write(folder / "log", records[start : start + chunk])
        process = outcomes()
        before = redis.get(keys.cursor("t"))
        deadline = time.monotonic() + 30
        while redis.get(keys.cursor("t")) == before and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.002)
        time.sleep(random_.random() * 0.1)
        process.kill()
        ended(process)
        redis.delete(keys.lease("t"))  # it would be over in some seconds


def test_kill_9_neither_loses_nor_counts_twice(
    outcomes: Callable[..., subprocess.Popen[str]], tmp_path: Path, redis: Redis
) -> None:
    records = draw(3_000, 8, days=3, latest=4 * DAY, users=200)
    kill_while_written(outcomes, tmp_path, records, 1, redis)
    drain(Consumer(FileSource(tmp_path / "log"), Store(redis, "t"), Archive(tmp_path / "archive"), rules_of))
    assert_equal(Store(redis, "t").load().sums, records)
    assert_replayed(Store(redis, "t"), Archive(tmp_path / "archive"))


@pytest.mark.slow
def test_kill_9_at_many_moments(outcomes: Callable[..., subprocess.Popen[str]], tmp_path: Path, redis: Redis) -> None:
    records = draw(40_000, 9, days=3, latest=4 * DAY, users=2_000, producers=4)
    kill_while_written(outcomes, tmp_path, records, 20, redis)
    assert ended(outcomes("--once"))[0] == 0
    assert_equal(Store(redis, "t").load().sums, records)
    assert ended(outcomes("recompute", "--check"))[0] == 0


def test_a_second_consumer_stands_by_and_goes_on(outcomes: Callable[..., subprocess.Popen[str]], redis: Redis) -> None:
    first = Lease(redis, "t")
    assert first.other() is None
    process = outcomes()
    assert process.stderr is not None
    assert process.stderr.readline().startswith("standing by: ")
    first.release()
    while redis.get(keys.lease("t")) is None and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    status, out, err = ended(process)
    assert (status, err) == (0, "")
    assert out.startswith("0 records")
    assert redis.get(keys.lease("t")) is None
