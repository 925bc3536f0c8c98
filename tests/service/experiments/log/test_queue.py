"""The log: numbers without gaps, in order, whatever becomes of the sink; and nobody waits who need not."""

import asyncio
from collections import Counter
from pathlib import Path
from time import perf_counter

import pytest

from service.experiments.log import queue as module
from service.experiments.log.queue import Log
from service.experiments.log.records import Event
from service.experiments.log.sinks import Sink, SinkDown
from service.experiments.log.sinks.file import FileSink
from service.experiments.log.sinks.redis import RedisSink
from service.metrics import Metrics
from tests.service.experiments.log.logs import (
    KEY,
    counted,
    expose,
    in_folder,
    in_loop,
    in_stream,
    process_of,
    server,
    stopped,
    until,
)

EVENT: Event = {"kind": "click", "time": 1, "id": "e1", "user": "u1"}


def _log(sink: Sink | None, room: int = 100_000) -> tuple[Log, Metrics]:
    metrics = Metrics()
    return Log("abc", sink, room, metrics), metrics


def _sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def _redis_sink(url: str) -> RedisSink:
    return RedisSink("redis", url, KEY, 1_000_000)


@in_loop
async def test_records_come_in_order_with_numbers_from_one(tmp_path: Path) -> None:
    """More than a batch; the rest when the log is closed."""
    log, metrics = _log(FileSink(tmp_path, "abc"))
    log.start()
    expose(log, 2500)
    await log.close()
    found = in_folder(tmp_path)
    assert [record["number"] for record in found] == list(range(1, 2501))
    assert [record["user"] for record in found] == [f"u{n}" for n in range(2500)]
    assert found[0]["producer"] == "abc"
    assert found[0]["predicted"] == 250_000
    assert _sample(metrics, "twinscore_log_records_total", kind="exposure") == 2500
    assert _sample(metrics, "twinscore_log_queue") == 0


@in_loop
async def test_an_exposure_is_flushed_without_another(tmp_path: Path) -> None:
    """In a moment, with nothing that fills the batch."""
    log, _ = _log(FileSink(tmp_path, "abc"))
    log.start()
    expose(log, 1)
    await until(lambda: len(in_folder(tmp_path)) == 1, seconds=2)
    await log.close()


@in_loop
async def test_a_stopped_redis_loses_nothing(tmp_path: Path) -> None:
    """What it read before it was given up comes twice, with the same numbers."""
    with server(tmp_path) as (url, redis):
        log, metrics = _log(_redis_sink(url))
        log.start()
        expose(log, 1500)
        await until(lambda: log.waiting == 0)
        with stopped(process_of(redis)):
            expose(log, 1500, first=1500)
            await until(lambda: _sample(metrics, "twinscore_log_up") == 0)
        expose(log, 100, first=3000)
        await until(lambda: len(counted(in_stream(redis))) == 3100)
        await log.close()
        found = in_stream(redis)
    assert len(found) > 3100
    assert [record["user"] for record in counted(found)] == [f"u{n}" for n in range(3100)]
    assert _sample(metrics, "twinscore_log_up") == 1


@in_loop
async def test_a_redis_that_ended_and_came_back_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line when it is gone, one when it is back."""
    with server(tmp_path) as (url, _):
        log, _ = _log(_redis_sink(url))
        log.start()
        expose(log, 10)
        await until(lambda: log.waiting == 0)
    expose(log, 2000, first=10)
    await asyncio.sleep(0.6)
    with server(tmp_path) as (_, redis):
        await until(lambda: len(counted(in_stream(redis))) == 2010)
        await log.close()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("log: redis: ")
    assert told[1] == "log: redis: takes records again"


@in_loop
async def test_a_full_queue_drops_and_says_how_many(tmp_path: Path) -> None:
    """By arm, in the metrics and in the log; kept and dropped are all there were."""
    folder = tmp_path / "redis"
    folder.mkdir()
    log, metrics = _log(_redis_sink(f"unix://{folder}/redis.sock"), room=100)
    log.start()
    expose(log, 50)
    await until(lambda: log.waiting == 0)  # in the batch that is being tried
    started = perf_counter()
    expose(log, 300, first=50)
    assert perf_counter() - started < 0.5
    assert log.waiting == 100
    with server(folder) as (_, redis):
        await until(lambda: log.waiting == 0 and _sample(metrics, "twinscore_log_up") == 1)
        await log.close()
        found = counted(in_stream(redis))
    kept = [record for record in found if record["kind"] == "exposure"]
    (dropped,) = (record for record in found if record["kind"] == "dropped")
    assert [record["user"] for record in kept] == [f"u{n}" for n in range(150)]
    assert sum(dropped["counts"].values()) == 200
    by_arm = {arm: _sample(metrics, "twinscore_exposures_dropped_total", experiment="dtn-vs-ple", arm=arm)
              for arm in ("ple", "dtn")}  # fmt: skip
    assert dropped["counts"] == {f"dtn-vs-ple/1/{arm}": count for arm, count in by_arm.items()}
    assert min(by_arm.values()) > 50


@in_loop
async def test_events_are_written_before_their_caller_goes_on(tmp_path: Path) -> None:
    """And need not wait for a batch to fill or a pause to end."""
    log, _ = _log(FileSink(tmp_path, "abc"))
    log.start()
    expose(log, 5)
    started = perf_counter()
    await log.write([EVENT])
    assert perf_counter() - started < module.FLUSH_SECONDS
    found = in_folder(tmp_path)
    assert found[0] == {"producer": "abc", "number": 1, **EVENT}  # ahead of exposures, for which nobody waits
    assert Counter(record["kind"] for record in found) == {"click": 1, "exposure": 5}
    await log.close()


@in_loop
async def test_events_that_nobody_waits_for_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were refused, and come again from their sender."""
    monkeypatch.setattr(module, "EVENT_SECONDS", 0.2)
    folder = tmp_path / "redis"
    folder.mkdir()
    log, _ = _log(_redis_sink(f"unix://{folder}/redis.sock"))
    log.start()
    expose(log, 1)
    await until(lambda: log.waiting == 0)
    started = perf_counter()
    with pytest.raises(SinkDown, match=r"no answer within 0\.2 s"):
        await log.write([EVENT])
    assert perf_counter() - started < 1
    assert log.waiting == 0
    with server(folder) as (_, redis):
        monkeypatch.setattr(module, "EVENT_SECONDS", 5)
        await log.write([{**EVENT, "id": "e2"}])
        await log.close()
        assert [record.get("id") for record in counted(in_stream(redis))] == [None, "e2"]


@in_loop
async def test_events_are_refused_at_once_where_too_many_wait(tmp_path: Path) -> None:
    """Memory is bounded for them too."""
    log, _ = _log(_redis_sink(f"unix://{tmp_path}/none.sock"), room=3)
    waiting = asyncio.create_task(log.write([EVENT] * 3))
    await asyncio.sleep(0)
    with pytest.raises(SinkDown, match="too many events wait"):
        await log.write([EVENT])
    waiting.cancel()
    await asyncio.wait([waiting])
    assert log.waiting == 0


@in_loop
async def test_what_is_left_at_the_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a few seconds the process has to go."""
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.3)
    log, _ = _log(_redis_sink(f"unix://{tmp_path}/none.sock"))
    log.start()
    expose(log, 1200)
    started = perf_counter()
    await log.close()
    assert 0.25 < perf_counter() - started < 2
    assert "log: redis did not take 1200 records before the end" in capsys.readouterr().err


@in_loop
async def test_a_log_that_is_off_keeps_nothing() -> None:
    """And costs nothing."""
    log, _ = _log(None)
    log.start()
    expose(log, 10)
    assert log.off
    assert log.waiting == 0
    await log.close()
