"""Where the log goes: what TWINSCORE_LOG may say, whole lines in files, entries in a stream."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from contract.errors import ConfigError
from service.experiments.sinks import Line, Sink, SinkDown
from service.experiments.sinks.choice import sink_of
from service.experiments.sinks.file import FileSink
from service.experiments.sinks.redis import RedisSink
from service.settings import Settings
from tests.service.experiments.logs import KEY, in_folder, in_loop, in_stream

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
from service.experiments.log import Log
from service.experiments.sinks.file import FileSink
from service.metrics import Metrics
from tests.service.experiments.logs import expose

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
