"""A small prepared data set written by hand, and a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from redis import Redis

from contract.dictionary import Dictionary
from contract.local_redis import private_redis
from contract.schema import Field, Kind, Schema, Side, Task
from training.datasets.prepared import Description, Prepared

CITIES = Dictionary.build({"Rome": 3, "Oslo": 2})
SCHEMA = Schema(
    user_key="user_id",
    item_key="item_id",
    fields=(
        Field(name="city", side=Side.USER, size=3, lineage=CITIES.lineage),
        Field(name="age", side=Side.USER, kind=Kind.NUMERIC, mean=40, scale=12),
        Field(name="tags", side=Side.ITEM, kind=Kind.MULTI, max_length=2, encoding="hash", buckets=9, size=10),
    ),
    tasks=(Task(name="ctr", label="click"),),
)


def write_prepared(folder: Path, users: int = 30, digest: str = "a" * 64, age: float = 40.0) -> Prepared:
    """A data set of `users` users u0… and two items."""
    for name in ("dictionaries", "users", "items"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    SCHEMA.save(folder / "schema.json")
    CITIES.save(folder / "dictionaries" / "city.npz")
    keys = [f"u{i}" for i in range(users)]
    ages = pl.Series([age] * users, dtype=pl.Float32)
    pl.DataFrame({":key": keys, "city": pl.Series([1] * users, dtype=pl.Int32), "age": ages}).write_parquet(
        folder / "users" / "part-0.parquet"
    )
    tags = pl.Series([[4, 0], [5, 6]], dtype=pl.Array(pl.Int32, 2))
    pl.DataFrame({":key": ["i0", "i1"], "tags": tags}).write_parquet(folder / "items" / "part-0.parquet")
    rows = {"train": 0, "validation": 0, "test": 0}
    description = Description.model_validate(
        {"source": "test", "rows": rows, "users": users, "items": 2, "digest": digest}
    )
    (folder / "prepared.json").write_text(description.model_dump_json())
    return Prepared.open(folder)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return write_prepared(tmp_path / "data")


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with private_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis(_server: str) -> Iterator[Redis]:
    with Redis.from_url(_server) as client:
        client.flushall()
        yield client


@pytest.fixture
def url(_server: str, redis: Redis) -> str:
    return _server
