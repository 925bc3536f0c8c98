"""The floors do the work of a request, on the rows that are loaded."""

import json
from pathlib import Path

import numpy as np
import pytest

from loadtest.floors import MODEL, WHOLE, Scorer, Source, floors
from tests.loadtest.conftest import ITEMS, Loaded


@pytest.fixture
def source(loaded: Loaded) -> Source:
    """The tiny model and its rows."""
    return Source(loaded.bundles / "ple" / "1", loaded.redis, "twinscore")


def test_reply_holds_the_scores_of_the_stored_rows(source: Source) -> None:
    items = ["new:30", "nobody", "new:6"]
    reply = json.loads(Scorer(source).reply("new:3", items))
    prices = np.array([30 / ITEMS, 0, 6 / ITEMS])
    assert reply["item_ids"] == items
    assert reply["scores"]["ctr"] == pytest.approx((1 / (1 + np.exp(-prices))).tolist(), abs=1e-6)
    assert reply["scores"]["cvr"] == pytest.approx([1 / (1 + np.exp(-1))] * 3, abs=1e-6)


def test_workers_measure_both_floors(source: Source, tmp_path: Path) -> None:
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text(json.dumps({"user": {"id": "new:3"}, "item_ids": [f"new:{i}" for i in range(50)]}) + "\n")
    with floors(source, processes=2) as workers:
        alone, whole = (workers.measure(floor, bodies, 0.3) for floor in (MODEL, WHOLE))
    assert alone.requests_per_second > whole.requests_per_second > 0
    assert alone.p50 < whole.p50
