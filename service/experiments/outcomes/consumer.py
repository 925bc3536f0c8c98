"""The loop: read, count, write in one transaction, archive. Killed anywhere, it goes on where the cursor says."""

from collections.abc import Callable
from time import monotonic, time

from redis.exceptions import RedisError

from contract.errors import ConfigError
from service.experiments.outcomes.archive import Archive, Label
from service.experiments.outcomes.batch import Batch, decoded
from service.experiments.outcomes.entry import Entry, Position
from service.experiments.outcomes.ledger import Ledger, RulesOf
from service.experiments.outcomes.replay import Replay, counted_batches
from service.experiments.outcomes.rules import known_first
from service.experiments.outcomes.sources import LogSource
from service.experiments.outcomes.store import Cursor, Overtaken, Store

BATCH = 2_000  # records
ARCHIVE_RECORDS = 50_000  # a file takes seconds to write, which the lease must outlast
ARCHIVE_SECONDS = 60.0
UNREACHABLE = (RedisError, OSError)


class Consumer:
    """Counts one log into one store."""

    def __init__(
        self,
        source: LogSource,
        store: Store,
        archive: Archive,
        rules_of: RulesOf,
        beat: Callable[[], None] = lambda: None,  # now and then while much is done
        step: Callable[[str], None] = lambda name: None,  # after each step; a test dies there
    ) -> None:
        self._source, self._store, self._archive = source, store, archive
        self._rules_of, self._beat, self._step = rules_of, beat, step
        self.changed: set[str] = set()  # phases whose sums changed, until somebody clears it
        self.records = 0  # read since the start
        self.rebuilt = False
        self._staged, self._staged_since = 0, monotonic()
        self.reload()

    def reload(self) -> None:
        """Go on from what Redis holds; from the archive where Redis lost what that has."""
        counted, label = self._store.load(), self._archive.last()
        if label is not None and counted.cursor is not None and label.book != counted.cursor.book:
            raise ConfigError(
                f"{self._archive.folder}: the archive of other sums; set TWINSCORE_ARCHIVE to another folder"
            )
        if label is not None and (counted.cursor is None or counted.cursor.sequence < label.last):
            self._rebuild(label)
            counted = self._store.load()
        self.cursor = counted.cursor or Cursor()
        self.ledger = Ledger(counted.sums, self.cursor.clock, self._rules_of)
        self.changed |= set(counted.sums)
        self._staged = sum(blob.count(b"\n") for blob in counted.staged)
        self._source.seek(self._position)

    def round(self) -> int:
        """Read and count one batch, archive where it is time; how many records there were."""
        entries = self._source.read(BATCH)
        self._step("read")
        if entries:
            self._count(entries)
        if self._staged >= ARCHIVE_RECORDS or (self._staged and monotonic() - self._staged_since > ARCHIVE_SECONDS):
            self.flush()
        return len(entries)

    def flush(self) -> None:
        """Archive what is counted."""
        blobs, label = self._store.staged(), self._archive.last()
        batches = [decoded(blob) for blob in blobs]
        # those that a consumer archived and died before it said so are not archived again
        new = [batch for batch in batches if label is None or batch.sequence > label.last]
        if new:
            rules = {name: sums.rules for name, sums in self.ledger.sums.items()}
            self._archive.write(self.cursor.book, new, rules)
        self._step("archived")
        if blobs:
            self._store.unstage(len(blobs), blobs[0])
        self._step("unstaged")
        self._source.trim(self._position)
        self._step("trimmed")
        self._staged, self._staged_since = 0, monotonic()

    @property
    def _position(self) -> Position:
        return self.cursor.positions.get(self._source.name, {})

    def _count(self, entries: list[Entry]) -> None:
        received = round(time() * 1000)
        users = self._store.users(each.record["user"] for each in entries if each.record and "user" in each.record)
        self._step("looked up")
        changed = self.ledger.count(entries, users, received)
        self._step("counted")
        self.cursor.sequence += 1
        position = {**self._position, **{each.part: each.offset for each in entries}}
        self.cursor.positions[self._source.name] = position
        batch = Batch(self.cursor.sequence, received, self._source.name, position, entries)
        self.changed |= self.ledger.changed
        self._store.commit(self.cursor, self.ledger, changed, batch)
        self._step("committed")
        self._staged_since = self._staged_since if self._staged else monotonic()
        self._staged += len(entries)
        self.records += len(entries)

    def _rebuild(self, label: Label) -> None:
        """Sums, users and cursor as the archive says; the log goes on after it."""
        replay = Replay(known_first(label.phases, self._rules_of))
        replay.run(counted_batches(self._archive, ()), self._beat)
        self._store.replace(replay.cursor(label.book), replay.ledger, replay.users)
        self.rebuilt = True


def recover(consumer: Consumer) -> bool:
    """After an error in a round: read again what is true; False where Redis still does not answer."""
    try:
        consumer.reload()
    except (Overtaken, *UNREACHABLE):
        return False
    return True
