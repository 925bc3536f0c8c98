"""Every kind of field through the whole of prepare: the same bytes from CSV, Parquet and JSON lines."""

from pathlib import Path

import polars as pl
import pytest

from contract.encoding import encode_columns
from contract.schema import Side
from tests.training.datasets.preparation.logs import cut_chunks, digests, prepared
from tests.training.datasets.shop import interactions, items, schema_with, users, write_shop
from training.datasets.prepared import KEY, Prepared

FIELDS: list[dict[str, object]] = [
    {"name": "user_id", "side": "user"},
    {"name": "tags", "side": "user", "kind": "multi", "max_length": 2, "weights": "loads"},
    {"name": "age", "side": "user", "encoding": "quantile", "buckets": 4},
    {"name": "years", "side": "user", "column": "age", "kind": "numeric", "transform": "none"},
    {"name": "item_id", "side": "item", "encoding": "hash", "buckets": 50},
    {"name": "price", "side": "item", "kind": "numeric", "transform": "log1p", "default": 5},
    {"name": "hour", "side": "context", "column": "timestamp", "encoding": "hour", "default": "now"},
    {"name": "day", "side": "context", "column": "when", "encoding": "weekday", "timezone": "Asia/Tokyo"},
    {"name": "position", "side": "cross"},
    {"name": "shelf", "side": "cross", "cross": ["item_id", "position"], "encoding": "hash", "buckets": 30},
]
LOG = interactions().with_columns(
    when=pl.when(pl.int_range(400) % 9 > 0).then(pl.from_epoch("timestamp").dt.strftime("%Y-%m-%d %H:%M"))
)
USERS = users().with_columns(loads=pl.col("tags").str.replace_all("t", "-0.5"), age=pl.col("age").cast(pl.Float64))


@pytest.fixture(params=["csv", "parquet", "jsonl"])
def raw(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = write_shop(
        tmp_path / request.param, interactions=None, users=None, items=None, schema=schema_with(fields=FIELDS)
    )
    lists = USERS.with_columns(pl.col("tags").str.split("|"), pl.col("loads").str.split("|").cast(pl.List(pl.Float32)))
    for stem, frame in (("interactions", LOG), ("users", USERS), ("items", items())):
        file = folder / f"{stem}.{request.param}"
        if file.suffix == ".csv":
            frame.write_csv(file)
        elif file.suffix == ".jsonl":
            (lists if stem == "users" else frame).write_ndjson(file)
        else:
            typed = frame.with_columns(pl.from_epoch("timestamp", "s")) if stem == "interactions" else frame
            (lists if stem == "users" else typed).write_parquet(file)
    return folder


@pytest.fixture(scope="module")
def seen() -> list[dict[str, str]]:
    return []


def test_any_format_gives_the_same_bytes(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, seen: list[dict[str, str]]
) -> None:
    cut_chunks(monkeypatch, 150)
    seen.append(digests(prepared(raw, tmp_path / "out").path))
    assert seen[-1] == seen[0]


def test_every_field_is_what_the_service_makes_of_it(tmp_path: Path, raw: Path) -> None:
    data = prepared(raw, tmp_path / "out")
    stored, fields = data.table(Side.USER).collect(), data.schema.by_name
    given = USERS.join(stored.select(user_id=KEY), on="user_id", how="right", maintain_order="right")
    pairs = [
        None
        if tags is None
        else [[tag, float(load)] for tag, load in zip(tags.split("|"), loads.split("|"), strict=True)]
        for tags, loads in given.select("tags", "loads").iter_rows()
    ]
    expected = encode_columns(fields["tags"], data.dictionaries, pairs)
    assert stored["tags"].to_list() == expected.ids.tolist()
    assert stored["tags:weights"].to_list() == expected.dense.tolist()
    assert stored["age"].to_list() == encode_columns(fields["age"], {}, given["age"].to_list()).ids[:, 0].tolist()
    assert 0 in stored["age"].to_list()
    moment = pl.concat([data.interactions(split).collect() for split in ("train", "validation", "test")])
    for name in ("hour", "day"):
        values = LOG[fields[name].source].to_list()
        assert moment[name].to_list() == encode_columns(fields[name], {}, values).ids[:, 0].tolist()


def test_edges_cut_what_training_showed_into_equal_shares(tmp_path: Path, raw: Path) -> None:
    data = prepared(raw, tmp_path / "out")
    shown = LOG[:280].join(USERS, on="user_id", how="left")["age"].drop_nulls().sort()
    expected = sorted({shown[len(shown) * bucket // 4] for bucket in (1, 2, 3)})
    assert data.schema.by_name["age"].edges == tuple(expected)
    assert (data.schema.by_name["age"].size, len(expected)) == (5, 3)


def test_what_is_measured_of_the_others(tmp_path: Path, raw: Path) -> None:
    data: Prepared = prepared(raw, tmp_path / "out")
    fields = data.schema.by_name
    assert (fields["years"].mean, fields["years"].scale) == (0.0, 1.0)
    assert [fields[name].size for name in ("hour", "day", "shelf", "item_id")] == [25, 8, 31, 51]
    assert not any("shelf" in pl.read_parquet_schema(file) for file in data.path.rglob("*.parquet"))
    assert data.matrices("train").item_ids[:, -1].min() > 0  # the cross is computed
