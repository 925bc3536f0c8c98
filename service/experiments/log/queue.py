"""Exposures and events on their way to the sink: queues that a background task empties in batches.

A batch that failed is sent again with the same numbers, so that whoever reads drops what it has seen. Exposures delay
nobody: where the queue is full they are dropped and counted. Events wait until the sink has them.
"""

import asyncio
import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from secrets import token_hex
from time import perf_counter, time
from typing import Any

import numpy as np
import orjson

from service.experiments.assignment import Decision
from service.experiments.log.exposures import exposures_of
from service.experiments.log.records import MICROS, Dropped, Event, Exposure, Record
from service.experiments.log.sinks import Line, Sink, SinkDown
from service.experiments.log.sinks.choice import sink_of
from service.metrics import Metrics
from service.scoring.composition import CTR
from service.scoring.engine import Scores
from service.settings import Settings

BATCH = 1000  # records, at most
FLUSH_SECONDS = 0.2
EVENT_SECONDS = 2.0  # until a caller is told that the sink has not taken an event
CLOSE_SECONDS = 3.0
_SLICE = 50  # records that are serialised before others have their turn
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between attempts; the last one again and again


@dataclass(eq=False)
class _Sent:
    """Events of one request, and who waits for them."""

    events: Sequence[Event]
    written: asyncio.Future[None]


class Log:
    """One producer of records."""

    def __init__(self, producer: str, sink: Sink | None, room: int, metrics: Metrics) -> None:
        self.producer, self._sink, self._room, self._metrics = producer, sink, room, metrics
        self._exposures: deque[Exposure] = deque()
        self._events: deque[_Sent] = deque()
        self._dropped: Counter[tuple[str, int, str]] = Counter()  # by experiment, phase, arm; not yet in the log
        self._number = 0
        self._flight = 0  # records of the batch that is being written
        self._up = True
        self._wake = asyncio.Event()
        self._closing = False
        self._flushing: asyncio.Task[None] | None = None
        metrics.watch_log(lambda: self.waiting, lambda: self._up)

    def expose(
        self,
        decision: Decision,
        served_arm: str | None,
        model: str,
        request_id: str,
        user: str | None,
        config_version: int,
        items: int,
        scores: Scores,
        context: Mapping[str, Any],
    ) -> None:
        """Note what a request met; never waits, never fails."""
        if self._sink is None or user is None or decision.variant is None:
            return
        predicted = _mean(scores)
        for exposure in exposures_of(
            decision, served_arm, model, request_id, user, config_version, items, predicted, context
        ):
            if len(self._exposures) < self._room:
                self._exposures.append(exposure)
            else:
                self._drop(exposure)
        if len(self._exposures) >= BATCH:
            self._wake.set()

    async def write(self, events: Sequence[Event]) -> None:
        """Return when the sink has them; SinkDown where it has not in time. Not while the log is off."""
        if sum(len(sent.events) for sent in self._events) + len(events) > self._room:
            raise SinkDown("too many events wait for it already")
        sent = _Sent(events, asyncio.get_running_loop().create_future())
        self._events.append(sent)
        self._wake.set()
        try:
            async with asyncio.timeout(EVENT_SECONDS):
                await sent.written
        except TimeoutError:
            raise SinkDown(f"no answer within {EVENT_SECONDS:g} s") from None
        finally:
            with suppress(ValueError):  # nobody waits for it any more, and no batch has it yet
                self._events.remove(sent)

    def start(self) -> None:
        """Begin to flush."""
        if self._sink is not None:
            self._flushing = asyncio.create_task(self._flush(self._sink))

    async def close(self) -> None:
        """Flush what there is, for a few seconds at most; what is left is told."""
        if self._sink is None or self._flushing is None:
            return
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._flushing], timeout=CLOSE_SECONDS)
        self._flushing.cancel()
        await asyncio.wait([self._flushing])
        if left := self.waiting + self._flight:
            print(f"log: {self._sink.name} did not take {left} records before the end", file=sys.stderr)
        await self._sink.close()

    @property
    def off(self) -> bool:
        """Whether nothing is kept."""
        return self._sink is None

    @property
    def waiting(self) -> int:
        """Records that no batch has yet."""
        return len(self._exposures) + sum(len(sent.events) for sent in self._events)

    async def _flush(self, sink: Sink) -> None:
        last = False
        while not last:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            last = self._closing
            while self.waiting or self._dropped:
                await self._write_batch(sink)

    async def _write_batch(self, sink: Sink) -> None:
        """Of all that waits, as much as fits: events first, since somebody waits for them."""
        sent, records = list[_Sent](), list[Record]()
        while self._events and len(records) < BATCH:
            sent.append(self._events.popleft())
            records.extend(sent[-1].events)
        if self._dropped:
            records.append(self._take_dropped())
        while self._exposures and len(records) < BATCH:
            records.append(self._exposures.popleft())
        self._flight = len(records)
        await self._deliver(sink, await self._serialise(records))
        self._flight = 0
        for kind, count in Counter(record["kind"] for record in records).items():
            self._metrics.log_records.labels(kind).inc(count)
        for each in sent:
            if not each.written.done():
                each.written.set_result(None)

    async def _serialise(self, records: Sequence[Record]) -> list[Line]:
        lines = []
        for i, record in enumerate(records, 1):
            self._number += 1
            text = orjson.dumps({"producer": self.producer, "number": self._number, **record})
            lines.append(Line("" if record["kind"] == "dropped" else record["user"], text))
            if i % _SLICE == 0:
                await asyncio.sleep(0)
        return lines

    async def _deliver(self, sink: Sink, batch: Sequence[Line]) -> None:
        """Until the sink has it."""
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            started = perf_counter()
            try:
                await sink.write(batch)
            except Exception as down:  # also what no sink should raise: this task must not end
                self._tell(up=False, what=f"{down}; exposures queue up, and are dropped above {self._room}")
                await asyncio.sleep(pause)
            else:
                self._metrics.log_flush(perf_counter() - started)
                self._tell(up=True, what="takes records again")
                return

    def _tell(self, up: bool, what: str) -> None:
        """Say once that the sink has changed."""
        if up != self._up:
            self._up = up
            print(f"log: {self._sink.name if self._sink else 'off'}: {what}", file=sys.stderr, flush=True)

    def _drop(self, exposure: Exposure) -> None:
        self._dropped[exposure["key"], exposure["phase"], exposure["arm"]] += 1
        self._metrics.exposures_dropped.labels(exposure["key"], exposure["arm"]).inc()

    def _take_dropped(self) -> Dropped:
        counts = {f"{key}/{phase}/{arm}": count for (key, phase, arm), count in self._dropped.items()}
        self._dropped.clear()
        return {"kind": "dropped", "time": int(time() * 1000), "counts": counts}


def open_log(settings: Settings, metrics: Metrics) -> Log:
    """The log of this process; ConfigError where TWINSCORE_LOG cannot be."""
    producer = token_hex(8)
    return Log(producer, sink_of(settings, producer), settings.log_queue, metrics)


def _mean(scores: Scores) -> int | None:
    """Mean click probability in millionths; None where there is none, or it is not a number."""
    if (column := scores.get(CTR)) is None:
        return None
    mean = float(np.add.reduce(column)) / len(column)
    return round(mean * MICROS) if mean == mean else None
