"""A peer's reader of packed rows reads what the project writes, also where a row is absent or damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from contract.rows import Layout, layout
from contract.schema import Side
from loadtest.floors import Scorer as Floor
from loadtest.floors import Source
from loadtest.peers.packed import Rows
from loadtest.peers.scorer import Scorer
from loadtest.peers.spec import item_keys, write_spec
from tests.loadtest.conftest import Loaded, make_dictionaries, make_schema


@pytest.fixture
def source(loaded: Loaded) -> Source:
    """The tiny model and its rows."""
    return Source(loaded.bundles / "ple" / "1", loaded.redis, "twinscore")


@pytest.fixture
def spec(source: Source, tmp_path: Path) -> Path:
    """What a peer is told of them."""
    write_spec(source, tmp_path / "spec.json")
    return tmp_path / "spec.json"


def _items() -> Layout:
    return layout(make_schema(), make_dictionaries(), Side.ITEM)


def test_rows_are_decoded_as_by_the_contract(spec: Path) -> None:
    draw = np.random.default_rng(1)
    ids, dense = draw.integers(0, 10, (5, 3), np.int32), draw.normal(size=(5, 1)).astype(np.float32)
    rows: list[bytes | None] = [*_items().encode(ids, dense)]
    damaged = bytearray(rows[1] or b"")
    damaged[2] ^= 1
    rows[1], rows[2], rows[3] = bytes(damaged), None, b"short"
    expected = _items().decode(rows)
    got_ids, got_dense = Rows(json.loads(spec.read_text())["item"]).decode(rows)
    assert expected.missing.tolist() == [False, True, True, True, False]
    np.testing.assert_array_equal(got_ids, expected.ids)
    np.testing.assert_array_equal(got_dense, expected.dense)


def test_keys_are_of_the_live_generation(source: Source, spec: Path) -> None:
    assert Rows(json.loads(spec.read_text())["item"]).keys(["a"]) == [item_keys(source) + "a"]
    assert ":new:i:" in item_keys(source)


def test_scores_are_those_of_the_floor(source: Source, spec: Path) -> None:
    items = ["new:30", "nobody", "new:6"]
    floor = json.loads(Floor(source).reply("new:3", items))
    assert json.loads(Scorer(spec).reply("new:3", items)) == floor
