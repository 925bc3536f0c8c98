"""A Redis stream: one entry a record, field `r`."""

from typing import Any, cast

from redis import Redis

from service.experiments.outcomes.entry import Entry, Position, entry

_PART = "stream"
_BEGINNING = "0-0"


class RedisSource:
    """Entries after an id."""

    def __init__(self, name: str, redis: Redis, key: str) -> None:
        self.name, self._redis, self._key = name, redis, key
        self._last = _BEGINNING

    def seek(self, position: Position) -> None:
        """Go on from here."""
        self._last = str(position.get(_PART, _BEGINNING))

    def read(self, most: int) -> list[Entry]:
        """The next entries."""
        found = cast(list[tuple[bytes, Any]], self._redis.xrange(self._key, f"({self._last}", count=most))
        entries = [entry(_PART, name.decode(), fields.get(b"r", b"")) for name, fields in found]
        if entries:
            self._last = str(entries[-1].offset)
        return entries

    def lag(self) -> str:
        """In seconds, by the ids' clock."""
        newest = cast(list[tuple[bytes, Any]], self._redis.xrevrange(self._key, count=1))
        if not newest or newest[0][0].decode() == self._last:
            return "0 s"
        if self._last == _BEGINNING:
            return f"{self._redis.xlen(self._key):,} records"
        ours, theirs = (int(each.partition("-")[0]) for each in (self._last, newest[0][0].decode()))
        return f"{max(0, theirs - ours) / 1000:.1f} s"

    def trim(self, position: Position) -> None:
        """Forget what lies before."""
        if last := position.get(_PART):
            self._redis.xtrim(self._key, minid=str(last), approximate=True)

    def close(self) -> None:
        """Its client is closed with the process."""
