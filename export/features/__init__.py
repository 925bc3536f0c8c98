"""User and item tables → packed rows in Redis, in one generation that readers switch to at once.

Rows are written under a generation named by the digest of the tables, beside the one that is being read. The last
write sets the live key, so a reader meets either all old rows or all new ones. A run that was cut off continues where
it was; a second run finds its generation live and writes nothing. No torch.

    tables      rows of a prepared data set, a chunk at a time
    nodes       where they go: one server, or `cluster`; commands as bytes, on the raw connections of `wire`
    generations what is live and since when; `target` joins these with a data set
    loading     a whole load; `delta` what changed since
"""

from pathlib import Path

from redis.exceptions import RedisError

from contract.cluster import without_password
from contract.errors import StoreError
from contract.local_redis import redis_url
from export.features.delta import add
from export.features.loading import load
from export.features.nodes import connect
from export.features.report import Report
from export.features.target import Target
from training.datasets.prepared import Prepared


def export_features(
    data: Path,
    url: str | None = None,
    prefix: str = "twinscore",
    *,
    force: bool = False,
    delta: bool = False,
    ttl: int | None = None,
) -> None:
    """Load the tables of a prepared data set; StoreError where Redis cannot be reached or refuses."""
    prepared, report = Prepared.open(data), Report()
    with redis_url(url) as address:
        shown = f"Redis at {without_password(address)}"
        try:
            nodes = connect(address)
            try:
                target = Target(prepared, nodes, prefix, ttl)
                add(target, report) if delta else load(target, report, force=force)
            finally:
                nodes.close()
        except ValueError as error:
            raise StoreError(f"{shown}: {error}") from None
        except RedisError as error:
            if str(error).startswith("MOVED"):
                raise StoreError(f"{shown}: a node of a cluster; write redis+cluster://host:port") from None
            raise StoreError(f"{shown}: {error}; run the same command again to continue") from None
