"""Columns of a request, and the keys that name a candidate's stored columns."""

import asyncio
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from contract.bundle import Bundle, read_bundle
from contract.dictionary import Dictionary
from contract.rows import redis_key
from contract.schema import Schema, Side
from service.messages import ScoreRequest
from service.metrics import Metrics
from service.scoring.features import Encoded, Encoder
from service.scoring.store import Store
from service.settings import Settings
from tests.service.bundles import SCHEMA, encode, write_tiny_bundle
from tests.service.conftest import ITEMS, USERS, Bundles, make_live

FINGERPRINT = SCHEMA.fingerprint()


@pytest.fixture(scope="module")
def bundle(bundles: Bundles) -> Bundle:
    """One of the usual two."""
    return read_bundle(bundles.root / "ple" / "v1")


def encoded(
    url: str, encoders: list[Encoder], *bodies: dict[str, Any], rows: int = 1000, schema: Schema = SCHEMA
) -> list[Encoded]:
    """Every request by every encoder, one after the other, from one store that follows changes first."""
    fingerprint = schema.fingerprint()

    async def job() -> list[Encoded]:
        store, metrics = Store(url, "twinscore", 5000), Metrics()
        store.keep_items(fingerprint, encoders[0].item_layout, Settings(item_cache_rows=rows), metrics)
        try:
            await store.fetch(fingerprint, None, ["i0"])
            while rows and not metrics.registry.get_sample_value(
                "twinscore_item_cache_followed", {"schema": fingerprint[:8]}
            ):
                await asyncio.sleep(0.001)
            result = []
            for body, encoder in product(bodies, encoders):
                ask = ScoreRequest.model_validate(body)
                items = [str(item) for item in ask.candidates()]
                stored = await store.fetch(fingerprint, str(ask.user.id), items)
                result.append(encoder.encode(ask, stored, len(items)))
            return result
        finally:
            await store.close()

    return asyncio.run(job())


BODY: dict[str, Any] = {"user": {"id": "u1"}, "item_ids": list(ITEMS), "context": {"scene": "cart"}}


@pytest.mark.parametrize("rows", [0, 7, 1000])
def test_columns_are_the_same_wherever_they_come_from(
    redis_address: str, redis: Redis, bundle: Bundle, rows: int
) -> None:
    request = encode(SCHEMA, (Side.USER, Side.CONTEXT), [USERS["u1"] | {"scene": "cart"}])
    items = encode(SCHEMA, (Side.ITEM, Side.CROSS), list(ITEMS.values()))
    for one in encoded(redis_address, [Encoder(bundle)], BODY, BODY, rows=rows):
        inputs = one.inputs
        got = (inputs.request_ids, inputs.request_dense, inputs.item_ids, inputs.item_dense)
        for column, wanted in zip(got, (*request, *items), strict=True):
            np.testing.assert_array_equal(column, wanted)
            assert column.dtype == wanted.dtype
        assert (one.missing_items, one.corrupt_items) == (0, 0)
        assert np.count_nonzero(inputs.item_keys) <= 2 * rows
        assert rows < 1000 or inputs.item_keys.all()


def test_a_stored_column_that_is_overridden_has_no_key(redis_address: str, redis: Redis, bundle: Bundle) -> None:
    items = [
        {"id": "i1"},
        {"id": "i1", "features": {"affinity": 2.0}},  # arrives with the candidate: no stored column
        {"id": "i1", "features": {"price": 3.0}},
        {"id": "i1", "features": {"category": "w", "affinity": 1.0}},
        {"id": "nobody"},
    ]
    plain, own, again = encoded(redis_address, [Encoder(bundle)], BODY, {"items": items}, BODY)
    key = plain.inputs.item_keys[1]
    assert own.inputs.item_keys[:4].tolist() == [key, key, 0, 0]
    assert own.inputs.item_keys[4] not in (0, key)
    assert own.missing_items == 1
    np.testing.assert_array_equal(again.inputs.item_keys, plain.inputs.item_keys)
    np.testing.assert_array_equal(again.inputs.item_dense, plain.inputs.item_dense)


def test_missing_and_corrupt_rows_are_counted_by_every_request(
    redis_address: str, redis: Redis, bundle: Bundle
) -> None:
    redis.set(redis_key("twinscore", FINGERPRINT, "g1", "i", "i1"), b"short")
    redis.delete(redis_key("twinscore", FINGERPRINT, "g1", "i", "i2"))
    for one in encoded(redis_address, [Encoder(bundle)], BODY, BODY, BODY):
        assert (one.missing_items, one.corrupt_items) == (2, 1)
        assert one.inputs.item_keys[1] == 0


def test_redis_down_names_nothing(bundle: Bundle) -> None:
    (one,) = encoded("redis://127.0.0.1:1", [Encoder(bundle)], BODY, rows=0)
    assert not one.inputs.item_keys.any()
    assert one.missing_items == len(ITEMS)


def test_an_absent_row_takes_the_defaults_of_its_own_model(redis_address: str, redis: Redis, tmp_path: Path) -> None:
    """Two models of one schema share the rows; a default may be known to the newer one's dictionary alone."""
    fields = [
        field.model_copy(update={"default": "z"}) if field.name == "category" else field for field in SCHEMA.fields
    ]
    schema = SCHEMA.model_copy(update={"fields": tuple(fields)})
    write_tiny_bundle(tmp_path, "ple", 1, schema=schema)
    newer = read_bundle(tmp_path / "ple" / "v1")
    older = replace(newer, path=tmp_path / "older")
    shutil.copytree(newer.path, older.path)
    Dictionary.build({"v": 1}).save(older.path / "dictionaries" / "category.npz")
    make_live(redis, "g1", schema=schema)
    both = encoded(redis_address, [Encoder(newer), Encoder(older), Encoder(newer)], BODY, schema=schema)
    known = newer.dictionaries["category"].encode(["z"])[0]
    assert [set(one.inputs.item_ids[:, 0].tolist()) for one in both] == [{known}, {0}, {known}]
