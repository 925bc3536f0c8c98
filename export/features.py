"""User and item tables → packed rows in Redis, in one generation that readers switch to at once.

Rows are written under a generation named by the digest of the tables, beside the one that is being read. The last
write sets the live key, so a reader meets either all old rows or all new ones. A run that was cut off continues where
it was; a second run finds its generation live and writes nothing. No torch.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from contract.errors import StoreError
from contract.local_redis import redis_url
from contract.rows import Layout, layout, live_key, redis_key, scan_pattern
from contract.schema import Side
from training.datasets.prepared import KEY, Prepared, dense_matrix, ids_matrix

CHUNK = 5_000
RETIRED_SECONDS = 300  # how long a replaced generation stays for requests in flight
KINDS = {Side.USER: "u", Side.ITEM: "i"}
_SAMPLE = 256


def export_features(data: Path, url: str | None = None, prefix: str = "twinscore", *, force: bool = False) -> None:
    """Load the tables of a prepared data set; StoreError where Redis cannot be reached or refuses."""
    prepared = Prepared.open(data)
    with redis_url(url) as address:
        try:
            with Redis.from_url(address) as redis:
                _Loader(prepared, redis, prefix).load(force=force)
        except RedisError as error:
            raise StoreError(f"Redis at {address}: {error}; run the same command again to continue") from None


class _Loader:
    def __init__(self, prepared: Prepared, redis: Redis, prefix: str) -> None:
        self._prepared, self._redis, self._prefix = prepared, redis, prefix
        self._fingerprint = prepared.schema.fingerprint()
        self._generation = prepared.description.digest[:12]
        self._progress_key = self._key("progress", "")

    def load(self, *, force: bool) -> None:
        console = Console(soft_wrap=True)
        live = self._live()
        if live == self._generation and not force and self._sample_is_there():
            console.print(f"features: generation {live} is loaded already", highlight=False)
            return
        if force or live == self._generation:  # rows were lost: what the progress says is no longer true
            self._redis.delete(self._progress_key)
        rows = self._write_tables()
        self._redis.set(live_key(self._prefix, self._fingerprint), self._generation)
        self._retire_others()
        console.print(f"features: {rows:,} rows live as generation {self._generation}", highlight=False)

    def _write_tables(self) -> int:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        total = 0
        with Progress(*columns, transient=True, disable=not Console().is_terminal) as progress:
            for side in KINDS:
                table = self._prepared.table(side).collect()
                self._write_table(side, table, progress, progress.add_task(f"{side} rows", total=len(table)))
                total += len(table)
        return total

    def _write_table(self, side: Side, table: pl.DataFrame, progress: Progress, task: TaskID) -> None:
        shape = layout(self._prepared.schema, self._prepared.dictionaries, side)
        done = int(self._redis.hget(self._progress_key, side) or 0)
        progress.update(task, completed=min(done, len(table)))
        for start in range(done, len(table), CHUNK):
            chunk = table[start : start + CHUNK]
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.mset(dict(self._rows(side, shape, chunk)))
                pipeline.hset(self._progress_key, side, str(start + len(chunk)))
                pipeline.execute()
            progress.advance(task, len(chunk))

    def _rows(self, side: Side, shape: Layout, chunk: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
        columns = {field.name: chunk[field.name] for field in shape.fields}
        ids, dense = ids_matrix(columns, shape.fields, len(chunk)), dense_matrix(columns, shape.fields, len(chunk))
        for key, row in zip(chunk[KEY], shape.encode(ids, dense), strict=True):
            yield self._key(KINDS[side], key), row

    def _sample_is_there(self) -> bool:
        for side, kind in KINDS.items():
            keys = self._prepared.table(side).select(KEY).collect()[KEY]
            names = [self._key(kind, key) for key in keys[:: max(1, len(keys) // _SAMPLE)]]
            if names and self._redis.exists(*names) != len(names):
                return False
        return True

    def _live(self) -> str | None:
        value = self._redis.get(live_key(self._prefix, self._fingerprint))
        return value.decode() if isinstance(value, bytes) else None

    def _retire_others(self) -> None:
        """Let every other generation of this schema expire, half-written ones too."""
        everything = live_key(self._prefix, self._fingerprint).removesuffix("live")
        kept = redis_key(self._prefix, self._fingerprint, self._generation, "", "").removesuffix(":").encode()
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in self._redis.scan_iter(match=scan_pattern(everything), count=1_000):
                if key.startswith(kept) or key == f"{everything}live".encode():
                    continue
                # without its progress, a return to those tables writes them again
                pipeline.expire(key, 0 if key.endswith(b":progress:") else RETIRED_SECONDS)
                if len(pipeline) >= 1_000:
                    pipeline.execute()
            pipeline.execute()

    def _key(self, kind: str, key: str) -> str:
        return redis_key(self._prefix, self._fingerprint, self._generation, kind, key)
