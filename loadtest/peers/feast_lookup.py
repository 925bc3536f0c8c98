"""Feast's online look-up in Redis against one MGET of packed rows: the same values, the same server, in turn.

Runs in Feast's environment, started by `lookup.measure`. Feast keeps its registry in memory and is asked by columns.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float32, Int32
from redis import Redis

from loadtest.peers.packed import Rows

SIZES = (1, 100, 500)


def main(spec: Path, socket: str, seconds: float) -> dict[str, dict[str, list[float]]]:
    """p50 and p99 in milliseconds by reader and number of rows."""
    content = json.loads(spec.read_text(encoding="utf-8"))
    rows = Rows(content["item"])
    redis: Any = Redis(unix_socket_path=socket)
    names = [key.decode().removeprefix(rows.start) for key in redis.scan_iter(f"{rows.start}*", count=1_000)]
    store, features = _store(spec.parent, socket, redis, rows, names)

    def by_feast(some: list[str]) -> dict[str, Any]:
        columns = {"item": some}
        found: dict[str, Any] = store.get_online_features(features=features, entity_rows=columns).to_dict()
        return found

    def by_mget(some: list[str]) -> Any:
        return rows.decode(redis.mget(rows.keys(some)))

    _agree(by_feast(names[:50]), by_mget(names[:50]))
    readers = {"Feast": by_feast, "MGET": by_mget}
    return {str(size): _measure(readers, names, size, seconds) for size in SIZES}


def _store(folder: Path, socket: str, redis: Any, rows: Rows, names: list[str]) -> tuple[Any, list[str]]:
    """A feature store that holds what the packed rows hold."""
    ids, dense = rows.decode(redis.mget(rows.keys(names)))
    columns = {f"i{n}": ids[:, n] for n in range(ids.shape[1])} | {f"d{n}": dense[:, n] for n in range(dense.shape[1])}
    now = datetime.now(UTC)
    frame = pd.DataFrame({"item": names, "at": now, **columns})
    frame.to_parquet(folder / "items.parquet")
    item = Entity(name="item", join_keys=["item"])
    schema = [Field(name=name, dtype=Int32 if name.startswith("i") else Float32) for name in columns]
    source = FileSource(path=str(folder / "items.parquet"), timestamp_field="at")
    config = RepoConfig(
        project="lookup",
        provider="local",
        registry={"path": str(folder / "registry.db"), "cache_ttl_seconds": 0},
        online_store={"type": "redis", "connection_string": f"localhost:6379,unix_socket_path={socket}"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply([item, FeatureView(name="items", entities=[item], schema=schema, source=source)])
    store.write_to_online_store("items", frame)
    return store, [f"items:{name}" for name in columns]


def _agree(feast: dict[str, Any], packed: Any) -> None:
    for letter, matrix in zip("id", packed, strict=True):
        got = [feast[f"{letter}{n}"] for n in range(matrix.shape[1])]
        np.testing.assert_allclose(np.array(got, np.float64).T, matrix, rtol=1e-6)


def _measure(readers: Mapping[str, Callable[[list[str]], Any]], names: list[str], size: int, seconds: float) -> Any:
    draws = np.random.default_rng(1)
    taken: dict[str, list[float]] = {name: [] for name in readers}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        some = [names[n] for n in draws.choice(len(names), size, replace=False)]
        for name, read in readers.items():
            began = time.perf_counter()
            read(some)
            taken[name].append((time.perf_counter() - began) * 1_000)
    return {name: np.percentile(times, (50, 99)).tolist() for name, times in taken.items()}


if __name__ == "__main__":
    os.environ["FEAST_USAGE"] = "False"
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))))
