"""The sums in Redis. A batch is one transaction: users, sums, the batch itself and the cursor, or nothing."""

from collections.abc import Iterable, Mapping
from secrets import token_hex
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from redis import Redis
from redis.exceptions import WatchError

from contract.errors import StoreError
from service.experiments import keys
from service.experiments.outcomes.batch import Batch
from service.experiments.outcomes.entry import Position
from service.experiments.outcomes.ledger import Clock, Ledger
from service.experiments.outcomes.sums import ExperimentSums, Snapshot

_CHUNK = 5_000  # keys of one command
_SNAPSHOTS = TypeAdapter(list[Snapshot])


class Overtaken(Exception):
    """Another consumer has counted, or the outcome of our own transaction is not known: read again."""


class Cursor(BaseModel):
    """How far the log is counted."""

    book: str = Field(default_factory=lambda: token_hex(8))  # ties the archive to what it was counted into
    sequence: int = 0  # of the last batch
    positions: dict[str, Position] = {}  # by source
    clock: Clock = Clock()
    phases: list[tuple[str, int]] = []


class Counted(NamedTuple):
    """All of one moment; `cursor` is None where nothing was ever counted."""

    cursor: Cursor | None
    sums: dict[str, ExperimentSums]
    staged: list[bytes]


class Store:
    """Reads and writes of one prefix."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix
        self._cursor_key, self._staged_key = keys.cursor(prefix), keys.staged(prefix)
        self._last: bytes | None = None  # the cursor as we know it

    def load(self) -> Counted:
        """What Redis holds at one moment."""
        while True:
            with self._redis.pipeline() as pipe:
                try:
                    pipe.watch(self._cursor_key, self._staged_key)  # type: ignore[no-untyped-call]
                    last = cast(bytes | None, pipe.get(self._cursor_key))
                    cursor = None if last is None else Cursor.model_validate_json(last)
                    sums = self._sums(pipe, cursor.phases if cursor else [])
                    staged = cast(list[bytes], pipe.lrange(self._staged_key, 0, -1))
                    pipe.multi()
                    pipe.exists(self._cursor_key)
                    pipe.execute()
                except WatchError:
                    continue
                except ValidationError:
                    raise StoreError(f"{self._cursor_key}: not what this version writes; see `recompute`") from None
                self._last = last
                return Counted(cursor, sums, staged)

    def users(self, ids: Iterable[str]) -> dict[str, bytes | None]:
        """States as they are stored."""
        wanted = list(set(ids))
        found = cast(list[bytes | None], self._redis.mget([keys.user(self._prefix, each) for each in wanted]))
        return dict(zip(wanted, found, strict=True)) if wanted else {}

    def commit(self, cursor: Cursor, ledger: Ledger, users: Mapping[str, bytes], batch: Batch) -> None:
        """Write a batch; Overtaken where the cursor is not the one that was read or written last."""
        text = self._text(cursor, ledger)
        with self._redis.pipeline() as pipe:
            try:
                pipe.watch(self._cursor_key)  # type: ignore[no-untyped-call]
                if pipe.get(self._cursor_key) != self._last:
                    raise Overtaken
                pipe.multi()
                self._write(pipe, ledger, users, ledger.changed | ledger.snapped, ledger.snapped)
                pipe.rpush(self._staged_key, batch.encoded())
                pipe.set(self._cursor_key, text)
                pipe.execute()
            except WatchError:
                raise Overtaken from None
        self._last = text
        ledger.forget_changes()

    def staged(self) -> list[bytes]:
        """Batches that are counted and not yet known to be archived, the oldest first."""
        return cast(list[bytes], self._redis.lrange(self._staged_key, 0, -1))

    def unstage(self, count: int, first: bytes) -> None:
        """The oldest batches are archived."""
        with self._redis.pipeline() as pipe:
            try:
                pipe.watch(self._staged_key)  # type: ignore[no-untyped-call]
                if pipe.lindex(self._staged_key, 0) != first:
                    raise Overtaken
                pipe.multi()
                pipe.ltrim(self._staged_key, count, -1)
                pipe.execute()
            except WatchError:
                raise Overtaken from None

    def replace(self, cursor: Cursor, ledger: Ledger, users: Mapping[str, bytes]) -> None:
        """Write everything anew. Cut off midway there is no cursor, and the next start does it again."""
        self._redis.delete(self._cursor_key)
        for pattern in (keys.user(self._prefix, "*"), keys.sums(self._prefix, "*", 0)[:-1] + "*"):
            found = list(self._redis.scan_iter(pattern, count=_CHUNK))
            for start in range(0, len(found), _CHUNK):
                self._redis.delete(*found[start : start + _CHUNK])
        ids = list(users)
        for start in range(0, len(ids), _CHUNK):
            self._redis.mset({keys.user(self._prefix, each): users[each] for each in ids[start : start + _CHUNK]})
        text = self._text(cursor, ledger)
        with self._redis.pipeline() as pipe:
            self._write(pipe, ledger, {}, set(ledger.sums), set(ledger.sums))
            pipe.delete(self._staged_key)
            pipe.set(self._cursor_key, text)
            pipe.execute()
        self._last = text

    @staticmethod
    def _text(cursor: Cursor, ledger: Ledger) -> bytes:
        cursor.clock, cursor.phases = ledger.clock, [(each.key, each.phase) for each in ledger.sums.values()]
        return cursor.model_dump_json().encode()

    def _write(
        self, pipe: Any, ledger: Ledger, users: Mapping[str, bytes], changed: set[str], snapped: set[str]
    ) -> None:
        values: dict[str, bytes] = {keys.user(self._prefix, user_id): state for user_id, state in users.items()}
        for each in (ledger.sums[name] for name in changed):
            values[keys.sums(self._prefix, each.key, each.phase)] = each.model_dump_json(exclude={"snapshots"}).encode()
        for each in (ledger.sums[name] for name in snapped):
            values[keys.snapshots(self._prefix, each.key, each.phase)] = _SNAPSHOTS.dump_json(each.snapshots)
        if values:
            pipe.mset(values)

    def _sums(self, redis: Any, phases: Iterable[tuple[str, int]]) -> dict[str, ExperimentSums]:
        found = ((key, phase, read_sums(redis, self._prefix, key, phase)) for key, phase in phases)
        return {f"{key}/{phase}": sums for key, phase, sums in found if sums is not None}


def read_sums(redis: Any, prefix: str, key: str, phase: int) -> ExperimentSums | None:
    """The sums of a phase with its snapshots; None where nothing is counted yet."""
    stored, snapshots = redis.mget(keys.sums(prefix, key, phase), keys.snapshots(prefix, key, phase))
    if stored is None:
        return None
    sums = ExperimentSums.model_validate_json(stored)
    sums.snapshots = _SNAPSHOTS.validate_json(snapshots) if snapshots else []
    return sums
