"""The table of look-ups."""

from pathlib import Path

import numpy as np
import pytest
from redis import Redis

from contract.errors import StoreError
from contract.rows import layout, live_key, redis_key
from contract.schema import Side
from loadtest.floors import Source
from loadtest.peers.environments import ENVIRONMENTS, is_ready, python_of
from loadtest.peers.lookup import FEAST, measure, table
from loadtest.peers.serving import ROOT
from tests.loadtest.conftest import Loaded, make_dictionaries, make_schema


def test_table_shows_both_and_their_ratio() -> None:
    last = table({100: {"Feast": (4.8, 9.3), "MGET": (0.16, 0.31)}}).splitlines()[-1]
    assert last == "| 100 | 4.80 / 9.30 | 0.16 / 0.31 | 30 |"


def test_too_few_items_are_one_line(loaded: Loaded) -> None:
    with pytest.raises(StoreError, match=r"items are loaded, 500 are needed"):
        measure(Path("python"), Source(loaded.bundles / "ple" / "1", loaded.redis, "twinscore"))


def _load_many(loaded: Loaded) -> None:
    redis, fingerprint = Redis.from_url(loaded.redis), loaded.schema.fingerprint()
    shape = layout(make_schema(), make_dictionaries(), Side.ITEM)
    draw = np.random.default_rng(1)
    rows = shape.encode(draw.integers(0, 10, (600, 3), np.int32), draw.normal(size=(600, 1)).astype(np.float32))
    keys = [redis_key("many", fingerprint, "new", kind, str(n)) for kind in "ui" for n in range(600)]
    redis.mset(dict(zip(keys, rows + rows, strict=True)) | {live_key("many", fingerprint): "new"})


@pytest.mark.slow
def test_feast_and_mget_agree_and_are_timed(loaded: Loaded) -> None:
    if not is_ready(FEAST, ROOT / ENVIRONMENTS):
        pytest.skip("no environment: python -m loadtest.peers install feast")
    _load_many(loaded)
    source = Source(loaded.bundles / "ple" / "1", loaded.redis, "many")
    times = measure(python_of(FEAST, ROOT / ENVIRONMENTS), source, seconds=0.5)
    assert all(0 < readers["MGET"][0] < readers["Feast"][0] for readers in times.values())
