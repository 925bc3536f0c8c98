"""Records that were counted together: kept in Redis from that moment until they are archived."""

from typing import NamedTuple

import orjson

from service.experiments.outcomes.entry import Entry, Position, entry


class Batch(NamedTuple):
    """In the order in which they were counted; `position` is where the source went on after them."""

    sequence: int
    received: int  # milliseconds, by the consumer's clock
    source: str
    position: Position
    entries: list[Entry]

    def encoded(self) -> bytes:
        """A line that says what it is, then a line a record."""
        places = [(each.part, each.offset, each.lane) for each in self.entries]
        head = orjson.dumps((self.sequence, self.received, self.source, self.position, places))
        # JSON has no line ends but between its tokens
        return b"\n".join([head, *(each.raw.replace(b"\n", b" ") for each in self.entries)])


def decoded(blob: bytes) -> Batch:
    """What was encoded."""
    head, *raws = blob.split(b"\n")
    sequence, received, source, position, places = orjson.loads(head)
    entries = [entry(part, offset, raw, lane) for (part, offset, lane), raw in zip(places, raws, strict=True)]
    return Batch(sequence, received, source, position, entries)
