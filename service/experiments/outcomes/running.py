"""`python -m service outcomes`: hold the lease, count round after round, read out, say how it goes."""

import signal
import sys
from contextlib import suppress
from time import monotonic, sleep
from types import FrameType

from redis import Redis

from contract.errors import StoreError
from service.experiments.outcomes.archive import Archive
from service.experiments.outcomes.consumer import UNREACHABLE, Consumer, recover
from service.experiments.outcomes.lease import SECONDS, Lease
from service.experiments.outcomes.rules import Rules
from service.experiments.outcomes.sources.choice import source_of
from service.experiments.outcomes.store import Overtaken, Store
from service.settings import Settings

_IDLE_SECONDS = 0.2
_AGAIN_SECONDS = 1.0  # after an error, or while another counts
_READOUT_SECONDS = 5.0
_OLD_SECONDS = 30.0  # a readout is computed again though nothing changed: its time shows that somebody counts
_SHOWN_SECONDS = 2.0


class Running:
    """One process."""

    def __init__(self, redis: Redis, settings: Settings, once: bool) -> None:
        self._redis, self._settings, self._once = redis, settings, once
        self._lease = Lease(redis, settings.redis_prefix)
        self._source = source_of(settings, redis)
        self._consumer: Consumer | None = None
        self._stopping = False
        self._read_out = self._all_read_out = self._shown = 0.0
        self._told: str | None = None
        self._readout_told: str | None = None
        self._records = 0  # at the last line

    def run(self) -> None:
        """Until a signal, or once until the log is read."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        started = monotonic()
        try:
            while not self._stopping and self._turn():
                pass
            self._end(started)
        finally:
            self._source.close()
            with suppress(*UNREACHABLE):
                self._lease.release()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _turn(self) -> bool:
        """One round; False where `--once` has read all."""
        try:
            if (other := self._lease.other()) is not None:
                return self._stand_by(other)
            consumer = self._consumer = self._consumer or self._start()
            count = consumer.round()
            if monotonic() - self._read_out > _READOUT_SECONDS:
                self._publish(consumer)
        except (Overtaken, StoreError, *UNREACHABLE) as error:
            self._again(error)
            return True
        self._tell(None)
        self._show(consumer)
        if not count:
            if self._once:
                return False
            sleep(_IDLE_SECONDS)
        return True

    def _start(self) -> Consumer:
        settings = self._settings
        store, archive = Store(self._redis, settings.redis_prefix), Archive(settings.archive)
        rules = Rules(self._redis, settings)
        consumer = Consumer(self._source, store, archive, rules.of, beat=self._lease.renew)
        if consumer.rebuilt:
            print("Redis was behind the archive: the sums are rebuilt from it", file=sys.stderr, flush=True)
        return consumer

    def _stand_by(self, other: str) -> bool:
        if self._once:
            raise StoreError(f"another consumer counts ({other}); stop it first, or ask for `status`")
        self._consumer = None  # the other one changes what we know
        self._tell(f"standing by: {other} counts; this one goes on where that one ends")
        sleep(_AGAIN_SECONDS)
        return True

    def _again(self, error: Exception) -> None:
        if self._once and not isinstance(error, Overtaken):
            raise StoreError(" ".join(str(error).split()) or type(error).__name__) from None
        if not isinstance(error, Overtaken):
            self._tell(f"{' '.join(str(error).split()) or type(error).__name__}; trying again")
            sleep(_AGAIN_SECONDS)
        if self._consumer is not None and not recover(self._consumer):
            self._consumer = None

    def _publish(self, consumer: Consumer) -> None:
        now = monotonic()
        if now - self._all_read_out > _OLD_SECONDS:
            consumer.changed, self._all_read_out = set(consumer.ledger.sums), now
        if consumer.changed:
            # only here: it loads scipy, and a consumer that starts again is counting before
            from service.experiments.outcomes.publishing import publish

            self._readout_told = publish(
                self._redis, self._settings, consumer.changed, consumer.ledger.sums, self._readout_told
            )
            consumer.changed.clear()
        self._read_out = monotonic()

    def _end(self, started: float) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        try:
            consumer.flush()
            self._publish(consumer)
        except (Overtaken, *UNREACHABLE) as error:
            raise StoreError(f"the last batches are counted, and archived by the next start: {error}") from None
        seconds = monotonic() - started
        rate = consumer.records / max(seconds, 1e-9)
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{clear}{consumer.records:,} records in {seconds:.1f} s ({rate:,.0f}/s); {_anomalies(consumer)}")

    def _tell(self, what: str | None) -> None:
        """Say once what holds it up."""
        if what != self._told and what is not None:
            print(what, file=sys.stderr, flush=True)
        self._told = what

    def _show(self, consumer: Consumer) -> None:
        """A line that is written over, on a terminal."""
        now = monotonic()
        if not sys.stderr.isatty() or now - self._shown < _SHOWN_SECONDS:
            return
        rate = (consumer.records - self._records) / (now - self._shown)
        self._shown, self._records = now, consumer.records
        line = f"{consumer.ledger.clock.records:,} records, {rate:,.0f}/s, {self._source.lag()} behind"
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def run(redis: Redis, settings: Settings, *, once: bool) -> int:
    """Exit status."""
    assert SECONDS > _READOUT_SECONDS  # a turn ends before the lease does
    Running(redis, settings, once).run()
    return 0


def _anomalies(consumer: Consumer) -> str:
    clock = consumer.ledger.clock
    return (
        f"in all {clock.records:,}, {clock.repeated:,} read twice, {clock.late:,} too late, "
        f"{clock.malformed:,} malformed, {clock.missing:,} missing"
    )
