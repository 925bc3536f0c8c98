"""Where the log goes: what TWINSCORE_LOG may say, whole lines in files, entries in a stream."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from contract.errors import ConfigError
from service.experiments.log.sinks import Line, Sink, SinkDown, kafka
from service.experiments.log.sinks.choice import sink_of
from service.experiments.log.sinks.file import FileSink
from service.experiments.log.sinks.kafka import KafkaSink
from service.experiments.log.sinks.redis import RedisSink
from service.settings import Settings
from tests.service.experiments.log.logs import KEY, in_folder, in_loop, in_stream, stopped

BATCH = [Line("u1", b'{"number":1}'), Line("", b'{"number":2}')]


def _sink(text: str) -> Sink | None:
    return sink_of(Settings(log=text, redis_url="redis://127.0.0.1:1"), "abc")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "files",
        "file:",
        "redis:",
        "kafka://host/topic",
        "kafka://host:9092",
        "kafka://host:9092/a b",
        "redis://h:x/0",
    ],
)
def test_a_bad_value_is_named(text: str) -> None:
    """At start, in one line."""
    with pytest.raises(ConfigError, match=r"^TWINSCORE_LOG=") as raised:
        _sink(text)
    assert "\n" not in str(raised.value)


def test_each_form_has_its_sink() -> None:
    """And is shown without a password."""
    assert _sink("off") is None
    for text, shown in {
        "file:some/folder": "file:some/folder",
        "redis": "redis",
        "redis://:secret@log:6380/2": "redis://log:6380/2",
        "unix:///run/redis.sock": "unix:///run/redis.sock",
        "kafka://log:9092/events": "kafka://log:9092/events",
    }.items():
        sink = _sink(text)
        assert sink is not None
        assert sink.name == shown


def test_kafka_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """That says what to install."""
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with pytest.raises(ConfigError, match="needs aiokafka"):
        _sink("kafka://log:9092/events")


@in_loop
async def test_large_files_are_followed_by_others(tmp_path: Path) -> None:
    """Whose names sort as they were written."""
    sink = FileSink(tmp_path, "abc", rotate_bytes=20)
    for number in range(1, 13):
        await sink.write([Line("u1", b'{"number":%d}' % number)])
    await sink.close()
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["abc.jsonl", *(f"abc_{part:04}.jsonl" for part in range(2, 7))]
    assert [record["number"] for record in in_folder(tmp_path)] == list(range(1, 13))


@in_loop
async def test_a_full_disk_leaves_whole_lines_and_is_tried_again(tmp_path: Path) -> None:
    """By the limit on this process's files, which a write meets in its middle as it meets a full disk."""
    import resource

    sink, before = FileSink(tmp_path, "abc"), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        await sink.write(BATCH)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
        with pytest.raises(SinkDown, match="too large"):
            await sink.write(BATCH)
        assert (tmp_path / "abc.jsonl").read_bytes() == b'{"number":1}\n{"number":2}\n'
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    await sink.write([Line("u1", b'{"number":3}')])
    await sink.close()
    assert [record["number"] for record in in_folder(tmp_path)] == [1, 2, 3]


@in_loop
async def test_a_folder_that_cannot_be_is_a_sink_that_is_down(tmp_path: Path) -> None:
    """The service scores all the same."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkDown, match="not a directory"):
        await FileSink(tmp_path / "file" / "log", "abc").write(BATCH)


WRITER = """
import asyncio, pathlib, sys
from service.experiments.log.queue import Log
from service.experiments.log.sinks.file import FileSink
from service.metrics import Metrics
from tests.service.experiments.log.logs import expose

async def main():
    log = Log("abc", FileSink(pathlib.Path(sys.argv[1]), "abc"), 100_000, Metrics())
    log.start()
    for n in range(10_000):
        expose(log, 100, 100 * n)
        await asyncio.sleep(0.001)

asyncio.run(main())
"""


def test_a_killed_process_leaves_lines_without_gaps(tmp_path: Path) -> None:
    """All that had left the queue; a reader leaves out half a line."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    file = tmp_path / "abc.jsonl"
    while not file.exists() or file.stat().st_size < 500_000:
        assert writer.poll() is None
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    found = in_folder(tmp_path)
    assert len(found) > 1000
    assert [record["number"] for record in found] == list(range(1, len(found) + 1))
    assert [record["user"] for record in found] == [f"u{n}" for n in range(len(found))]


@in_loop
async def test_a_stream_keeps_about_its_length(redis_address: str, redis: Redis) -> None:
    """Redis trims by whole nodes."""
    sink = RedisSink("redis", redis_address, KEY, 200)
    for start in range(1, 1001, 50):
        await sink.write([Line("u1", b'{"number":%d}' % number) for number in range(start, start + 50)])
    await sink.close()
    found = [record["number"] for record in in_stream(redis)]
    assert found == list(range(found[0], 1001))
    assert 200 <= len(found) < 400


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda redis: redis.set(KEY, "text"), "WRONGTYPE"),
        (lambda redis: redis.config_set("maxmemory", "1"), "OOM"),
    ],
)
def test_a_redis_that_refuses_is_down_until_it_does_not(
    redis_address: str, redis: Redis, spoil: Callable[[Redis], object], said: str
) -> None:
    """What it says is told."""

    @in_loop
    async def run() -> None:
        sink = RedisSink("redis", redis_address, KEY, 1000)
        spoil(redis)
        try:
            with pytest.raises(SinkDown, match=said):
                await sink.write(BATCH)
        finally:
            redis.config_set("maxmemory", "0")
            redis.delete(KEY)
        await sink.write(BATCH)
        await sink.close()

    run()
    assert [record["number"] for record in in_stream(redis)] == [1, 2]


CLUSTER = """
import sys
from confluent_kafka import Producer

cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})
print(next(iter(cluster.list_topics(timeout=10).brokers.values())), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def broker() -> Iterator[tuple[str, int]]:
    """Address and process of librdkafka's own broker, which speaks the protocol and keeps topics in memory."""
    pytest.importorskip("confluent_kafka", reason="no Kafka broker: `pip install confluent-kafka` brings a small one")
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().split("/")[0], cluster.pid
        cluster.kill()


async def _consumed(address: str, topic: str) -> list[tuple[int, bytes, int]]:
    """Partition, key and number of all that a topic holds."""
    from aiokafka import AIOKafkaConsumer

    found = []
    async with AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        while batches := await consumer.getmany(timeout_ms=1000):
            found += [(at.partition, each.key, json.loads(each.value)["number"])
                      for at, several in batches.items() for each in several]  # fmt: skip
    return found


@in_loop
async def test_a_topic_gets_numbers_in_order_in_each_partition(
    broker: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a broker that did not answer; a user is always in the same partition."""
    address, process = broker
    monkeypatch.setattr(kafka, "_SECONDS", 1.0)
    sink = KafkaSink(address, "events")
    lines = [Line(f"u{number % 50}", b'{"number":%d}' % number) for number in range(1, 1001)]
    await sink.write(lines[:500])
    with stopped(process), pytest.raises(SinkDown):
        await sink.write(lines[500:])
    await sink.write(lines[500:])
    await sink.close()
    last, new, of_user = Counter[int](), [], dict[bytes, int]()
    for partition, key, number in await _consumed(address, "events"):
        assert of_user.setdefault(key, partition) == partition
        if number > last[partition]:
            last[partition] = number
            new.append(number)
    assert len(set(of_user.values())) > 1
    assert sorted(new) == list(range(1, 1001))
