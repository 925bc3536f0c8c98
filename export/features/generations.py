"""Which generation of rows is live, what each holds, how far a load has come, and how the replaced ones go."""

from collections.abc import Iterable

from pydantic import ValidationError

from contract.rows import live_key, redis_key, scan_pattern
from contract.stamp import Stamp, stamp_key
from export.features.nodes import Nodes
from export.features.wire import Wire, command

RETIRED_SECONDS = 300  # how long a replaced generation stays for requests in flight
_SCANNED = 1_000  # keys that one SCAN looks at
_ALTERNATE = "-2"  # of a generation whose name is taken by other rows


class Generations:
    """The generations of one schema."""

    def __init__(self, nodes: Nodes, prefix: str, fingerprint: str) -> None:
        self._nodes, self._prefix, self._fingerprint = nodes, prefix, fingerprint
        self._live_key = live_key(prefix, fingerprint)
        self._list_key = self._live_key.removesuffix("live") + "generations"
        self.live = _text(nodes.ask("GET", self._live_key))
        self.stamp = self._read_stamp(self.live)

    def _read_stamp(self, generation: str) -> Stamp | None:
        text = self._nodes.ask("GET", stamp_key(self._prefix, self._fingerprint, generation)) if generation else None
        try:
            return None if text is None else Stamp.model_validate_json(text)
        except ValidationError:
            return None

    def holds(self, digest: str) -> bool:
        """Whether the live rows are all of the tables with this digest."""
        if self.stamp is None:  # of a release that did not stamp
            return self.live == digest[:12]
        return self.stamp.digest == digest and self.stamp.pending is None

    def name(self, digest: str) -> str:
        """The generation to load these tables into: beside the live one, unless that holds them already."""
        if self.holds(digest) and self.live in (digest[:12], digest[:12] + _ALTERNATE):
            return self.live
        return digest[:12] + _ALTERNATE * (self.live == digest[:12])

    def note(self, generation: str, stamp: Stamp) -> None:
        """Write what a generation holds."""
        key = stamp_key(self._prefix, self._fingerprint, generation)
        self._nodes.ask("SET", key, stamp.model_dump_json())

    def begin(self, generation: str) -> None:
        """Note that there are rows of this generation from now on."""
        self._nodes.ask("SADD", self._list_key, generation)

    def go_live(self, generation: str) -> None:
        """Switch every reader, and let all others expire, half-written ones too."""
        self._nodes.ask("SET", self._live_key, generation)
        others = {_text(name) for name in self._nodes.ask("SMEMBERS", self._list_key)} | {self.live}
        others -= {generation, ""}
        if not others:  # looking at every key of Redis takes as long as writing them
            return
        everything = self._live_key.removesuffix("live")
        kept = redis_key(self._prefix, self._fingerprint, generation, "", "").removesuffix(":")  # ends with ":"
        for wire in self._nodes.wires:
            self._retire(
                wire, scan_pattern(everything), (kept.encode(), self._live_key.encode(), self._list_key.encode())
            )
        self._nodes.ask("SREM", self._list_key, *sorted(others))

    def _retire(self, wire: Wire, pattern: str, kept: tuple[bytes, ...]) -> None:
        cursor = b"0"
        while True:
            cursor, keys = wire.ask("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED)
            # without its progress, a return to those tables writes them again
            retired = [
                command("EXPIRE", key, 0 if key.endswith(b":progress:") else RETIRED_SECONDS)
                for key in keys
                if not key.startswith(kept)
            ]
            wire.start(b"".join(retired), len(retired)).result()
            if cursor == b"0":
                return


class Load:
    """How far one generation has been written, in Redis: a rerun continues there."""

    def __init__(self, nodes: Nodes, key: str, ttl: int | None, now: float) -> None:
        self._nodes, self._key, self._ttl = nodes, key, ttl
        stored = iter(nodes.ask("HGETALL", key))
        known = {_text(name): _text(value) for name, value in zip(stored, stored, strict=True)}
        # rows that expire were written with this expiry, and must not be gone before all are there
        same = known.get("ttl", "") == str(ttl or "") and (ttl is None or now < float(known["started"]) + ttl / 2)
        if known and not same:
            self.forget()
            known = {}
        self._done = known
        self.started = float(known.get("started", now))
        self.anew = not known

    def done(self, side: str) -> int:
        """Rows of this side that are there."""
        return int(self._done.get(side, 0))

    def reached(self, side: str, rows: int) -> None:
        """So many rows of this side are there."""
        self._nodes.ask("HSET", self._key, side, rows, "ttl", str(self._ttl or ""), "started", str(self.started))
        if self._ttl is not None:
            self._nodes.ask("EXPIRE", self._key, self._ttl)

    def forget(self) -> None:
        """Begin anew."""
        self._nodes.ask("DEL", self._key)


def _text(value: bytes | None) -> str:
    return value.decode(errors="replace") if value else ""


def used_memory(wires: Iterable[Wire]) -> int:
    """Bytes that these servers use, all together."""
    reports = [wire.ask("INFO", "memory").decode() for wire in wires]
    return sum(int(line.split(":")[1]) for text in reports for line in text.split() if line.startswith("used_memory:"))
