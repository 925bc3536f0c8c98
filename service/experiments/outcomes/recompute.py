"""`python -m service outcomes recompute`: the sums from the archive, compared with the live ones or in their place."""

import sys

from redis import Redis

from contract.errors import StoreError
from service.experiments.outcomes.archive import Archive
from service.experiments.outcomes.batch import decoded
from service.experiments.outcomes.lease import Lease
from service.experiments.outcomes.replay import Replay, counted_batches, first_difference
from service.experiments.outcomes.rules import Rules, known_first
from service.experiments.outcomes.store import Counted, Store
from service.settings import Settings


def recompute(redis: Redis, settings: Settings, *, write: bool) -> int:
    """Exit status: 1 where the sums differ and are left as they are."""
    archive, lease = Archive(settings.archive), Lease(redis, settings.redis_prefix)
    if write and (other := lease.other()) is not None:
        raise StoreError(f"a consumer counts ({other}); stop it before --write")
    try:
        store = Store(redis, settings.redis_prefix)
        counted = store.load()
        if write:
            _archive_staged(archive, counted)
        replay = _replayed(redis, settings, archive, counted, lease if write else None)
        difference = _difference(counted, replay)
        print(f"{replay.records:,} records in {replay.sequence:,} batches: {difference or 'equal to the live sums'}")
        if write:
            label = archive.last()
            store.replace(replay.cursor(label.book if label else ""), replay.ledger, replay.users)
            print("the live sums are replaced")
    finally:
        if write:
            lease.release()
    return 1 if difference and not write else 0


def _replayed(redis: Redis, settings: Settings, archive: Archive, counted: Counted, lease: Lease | None) -> Replay:
    known = {name: sums.rules for name, sums in counted.sums.items()}
    if (label := archive.last()) is not None:
        known = label.phases | known
    replay = Replay(known_first(known, Rules(redis, settings).of))
    # to compare: what Redis says is counted; to write: all that there is
    until = counted.cursor.sequence if counted.cursor and lease is None else None
    replay.run(counted_batches(archive, counted.staged, until), lease.renew if lease else lambda: None)
    return replay


def _archive_staged(archive: Archive, counted: Counted) -> None:
    """So that what replaces the live sums rests on files alone."""
    label = archive.last()
    new = [batch for batch in map(decoded, counted.staged) if label is None or batch.sequence > label.last]
    if new and counted.cursor is not None:
        archive.write(counted.cursor.book, new, {name: sums.rules for name, sums in counted.sums.items()})
    elif label is None:
        raise StoreError(f"{archive.folder}: no archive to write from; see TWINSCORE_ARCHIVE")


def _difference(counted: Counted, replay: Replay) -> str | None:
    live = {name: sums.model_dump() for name, sums in counted.sums.items()}
    again = {name: sums.model_dump() for name, sums in replay.ledger.sums.items()}
    if (found := first_difference(live, again)) is None:
        return None
    print("the live sums are not what their records say", file=sys.stderr)
    return f"first difference at {found}"
