"""What is loaded where: a prepared data set, and the generations of its schema in Redis."""

from time import time

from contract.errors import StoreError
from contract.rows import redis_key
from contract.schema import Side
from contract.stamp import Stamp
from export.features.generations import Generations
from export.features.nodes import Nodes
from export.features.tables import StoredTable
from training.datasets.prepared import Prepared

KINDS = {Side.USER: "u", Side.ITEM: "i"}


class Target:
    """A data set and the Redis that it goes to; rows expire after `ttl` seconds, or never."""

    def __init__(self, prepared: Prepared, nodes: Nodes, prefix: str, ttl: int | None) -> None:
        self.nodes, self.ttl, self._prefix = nodes, ttl, prefix
        self.digest, self._fingerprint = prepared.description.digest, prepared.schema.fingerprint()
        self._prepared_at = (prepared.path / "prepared.json").stat().st_mtime
        self.tables = {side: StoredTable(prepared, side) for side in KINDS}
        self.generations = Generations(nodes, prefix, self._fingerprint)
        self.begun = time()

    @property
    def rows(self) -> int:
        """Of both tables."""
        return sum(map(len, self.tables.values()))

    def base(self, generation: str, side: Side) -> bytes:
        """What keys of its rows start with."""
        return self._key(generation, KINDS[side]).encode()

    def progress_key(self, generation: str) -> str:
        """Where it is said how far this generation has come."""
        return self._key(generation, "progress")

    def _key(self, generation: str, kind: str) -> str:
        return redis_key(self._prefix, self._fingerprint, generation, kind, "")

    def stamp(self, first: float) -> Stamp:
        """Of all rows being there, the first since `first`."""
        expires = None if self.ttl is None else first + self.ttl
        return Stamp(digest=self.digest, prepared=self._prepared_at, written=time(), ttl=self.ttl, expires=expires)

    def is_live(self) -> bool:
        """Whether these rows are there and live for good; a sample of them is looked for."""
        stamp = self.generations.stamp
        if not self.generations.holds(self.digest) or self.ttl is not None or (stamp and stamp.ttl is not None):
            return False
        return not self.missing(self.generations.live)

    def missing(self, generation: str) -> str:
        """How many of a sample of rows are not there, in words; "" where all are."""
        lost = found = 0
        for side, table in self.tables.items():
            rows = self.nodes.read(self.base(generation, side), table.sample())()
            lost += rows.count(None)
            found += len(rows) - rows.count(None)
        return f"{lost} of {lost + found} rows that were looked for" if lost else ""

    def check(self, generation: str, first: float) -> None:
        """StoreError where rows are gone already: such a generation must not go live."""
        if self.ttl is not None and time() > first + self.ttl:
            raise StoreError(f"the first rows expired after {self.ttl} s, before the last were written; raise --ttl")
        if missing := self.missing(generation):
            self.nodes.ask("DEL", self.progress_key(generation))
            raise StoreError(f"{missing} are gone right after they were written: Redis evicts rows or lost them")
