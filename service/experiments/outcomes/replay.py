"""The sums again, from the records that were counted: what the archive holds, and what waits to be archived."""

import sys
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any

from contract.errors import StoreError
from service.experiments.outcomes.archive import Archive
from service.experiments.outcomes.batch import Batch, decoded
from service.experiments.outcomes.entry import Position
from service.experiments.outcomes.ledger import Clock, Ledger, RulesOf
from service.experiments.outcomes.store import Cursor

_SHOWN_EVERY = 2.0  # seconds


class Replay:
    """Users in memory, the same ledger; batches go in as they were counted."""

    def __init__(self, rules_of: RulesOf) -> None:
        self.ledger = Ledger({}, Clock(), rules_of)
        self.users: dict[str, bytes] = {}
        self.records = self.sequence = 0
        self.positions: dict[str, Position] = {}

    def run(self, batches: Iterable[Batch], beat: Callable[[], None] = lambda: None) -> None:
        """Count them; every few seconds say how far it is, and call `beat`."""
        shown = monotonic()
        for batch in batches:
            stored = {
                each.record["user"]: self.users.get(each.record["user"])
                for each in batch.entries
                if each.record is not None and "user" in each.record
            }
            self.users |= self.ledger.count(batch.entries, stored, batch.received)
            self.sequence, self.records = batch.sequence, self.records + len(batch.entries)
            self.positions[batch.source] = batch.position
            if monotonic() - shown > _SHOWN_EVERY:
                shown = monotonic()
                beat()
                print(f"{self.records:,} records replayed", file=sys.stderr, flush=True)

    def cursor(self, book: str) -> Cursor:
        """Where counting goes on."""
        return Cursor(book=book, sequence=self.sequence, positions=self.positions)


def counted_batches(archive: Archive, staged: Iterable[bytes], until: int | None = None) -> Iterator[Batch]:
    """Every batch once, in order, up to a number; StoreError where one is missing."""
    seen = 0
    for batch in archive.batches():
        if until is not None and batch.sequence > until:
            return
        seen = batch.sequence
        yield batch
    for batch in map(decoded, staged):
        if batch.sequence == seen + 1 and (until is None or batch.sequence <= until):
            seen = batch.sequence
            yield batch
    if until is not None and seen < until:
        raise StoreError(f"{archive.folder}: batches {seen + 1} to {until} are counted, but neither here nor in Redis")


def first_difference(live: Any, again: Any, place: str = "") -> str | None:
    """The first value that is not the same, and where; None where all is equal."""
    if isinstance(live, dict) and isinstance(again, dict):
        pairs = [(key, live.get(key), again.get(key)) for key in sorted({*live, *again}, key=str)]
    elif isinstance(live, list) and isinstance(again, list) and len(live) == len(again):
        pairs = [(i, *both) for i, both in enumerate(zip(live, again, strict=True))]
    else:
        return None if live == again else f"{place}: live {_short(live)}, replayed {_short(again)}"
    found = (first_difference(one, other, f"{place}.{key}" if place else str(key)) for key, one, other in pairs)
    return next((each for each in found if each is not None), None)


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:60] + "…"
