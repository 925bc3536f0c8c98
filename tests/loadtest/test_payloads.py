"""Requests drawn from what is loaded."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from contract.dictionary import Dictionary
from contract.encoding import encode_columns
from loadtest.catalogue import Catalogue, read_catalogue
from loadtest.payloads import Payloads
from loadtest.workload import Candidates, Workload
from tests.loadtest.conftest import BRANDS, GENDERS, Loaded
from tests.training import tiny

PLAIN = Workload(Candidates((20.0,)), inline=0.0, unknown=0.0, exponent=1.0, seed=1)


@pytest.fixture(scope="module")
def catalogue(loaded: Loaded) -> Catalogue:
    """All that is loaded."""
    return read_catalogue(loaded.bundles, loaded.redis, "twinscore", 1_000)


def _bodies(catalogue: Catalogue, shape: Workload, count: int = 50) -> list[dict[str, Any]]:
    payloads, rng = Payloads(catalogue, shape), np.random.default_rng(5)
    return [json.loads(payloads.draw(rng).body) for _ in range(count)]


def test_plain_request_names_known_ids_and_the_context(catalogue: Catalogue) -> None:
    for body in _bodies(catalogue, PLAIN):
        assert body["user"]["id"] in catalogue.users
        assert len(body["item_ids"]) == len(set(body["item_ids"])) == 20
        assert set(body["item_ids"]) <= set(catalogue.items)
        assert body["context"]["scene"] in ("home", "search")
        assert "features" not in body["user"]


def test_request_echoes_what_it_asked_for(catalogue: Catalogue) -> None:
    for inline in (0.0, 1.0):
        request = Payloads(catalogue, dataclasses.replace(PLAIN, inline=inline)).draw(np.random.default_rng(1))
        body = json.loads(request.body)
        assert request.item_ids == (body.get("item_ids") or [item["id"] for item in body["items"]])


def test_inline_request_brings_raw_values_of_every_side(catalogue: Catalogue) -> None:
    bodies = _bodies(catalogue, dataclasses.replace(PLAIN, inline=1.0))
    users = [body["user"]["features"] for body in bodies]
    items = [item["features"] for body in bodies for item in body["items"]]
    assert {user["gender"] for user in users} == set(GENDERS)
    assert 30 < np.mean([user["age"] for user in users]) < 50
    assert {brand for item in items for brand in item["brands"]} == set(BRANDS)
    assert {len(item["brands"]) for item in items} == {1, 2, 3}
    assert np.median([item["price"] for item in items]) == pytest.approx(np.expm1(3), rel=0.3)
    assert min(item["price"] for item in items) >= 0
    assert set(items[0]) == {"brands", "price", "position"}


def test_shares_are_kept(catalogue: Catalogue) -> None:
    bodies = _bodies(catalogue, dataclasses.replace(PLAIN, inline=0.3, unknown=0.2), 500)
    assert np.mean(["items" in body for body in bodies]) == pytest.approx(0.3, abs=0.07)
    asked = [i for body in bodies for i in body.get("item_ids", [])]
    assert np.mean([i not in set(catalogue.items) for i in asked]) == pytest.approx(0.2, abs=0.02)
    assert np.mean([body["user"]["id"] not in catalogue.users for body in bodies]) == pytest.approx(0.2, abs=0.06)


def test_side_without_rows_gets_made_up_ids(catalogue: Catalogue) -> None:
    body = _bodies(dataclasses.replace(catalogue, items=[]), PLAIN, 1)[0]
    assert len(set(body["item_ids"])) == 20


def test_same_generator_same_requests(catalogue: Catalogue) -> None:
    shape = dataclasses.replace(PLAIN, inline=0.5, unknown=0.5)
    assert _bodies(catalogue, shape) == _bodies(catalogue, shape)


def test_values_of_every_option_are_such_as_the_service_takes() -> None:
    known = {field.name: Dictionary.build({"a": 2, "b": 1}) for field in tiny.RICH if field.needs_dictionary}
    catalogue = Catalogue([], [], tiny.schema(tiny.RICH), known, {})
    bodies = _bodies(catalogue, dataclasses.replace(PLAIN, inline=1.0))
    users, items = [body["user"]["features"] for body in bodies], [i["features"] for b in bodies for i in b["items"]]
    met = {}
    for field in catalogue.schema.fields:
        rows = {"user": users, "context": [body["context"] for body in bodies]}.get(field.side, items)
        if field.cross:
            assert all(field.name not in row for row in rows)
        else:
            ids, dense = encode_columns(field, known, [row[field.name] for row in rows])
            met[field.name] = set(ids.ravel().tolist())
            assert not field.weights or len(np.unique(dense)) > 50
    assert met["price"] == {1, 2, 3, 4}
    assert len(met["hour"]) > 12
    assert met["likes"] == {0, 1, 2}
