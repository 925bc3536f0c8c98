"""A task that is an amount, not a probability: served as it is, its golden cases held to a relative tolerance."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contract.errors import BundleError
from contract.schema import Schema, Task
from service.scoring.registry import load_model
from service.settings import Settings
from tests.service.bundles import FIELDS, Graph, expected, write_tiny_bundle
from tests.service.conftest import ITEMS, USERS, Client, running

CLICK, WATCH = Task(name="ctr", label="click"), Task(name="watch", kind="continuous", label="seconds", space="ctr")
SCHEMA = Schema(user_key="user_id", item_key="item_id", fields=FIELDS, tasks=(CLICK, WATCH))
ALONE = SCHEMA.model_copy(update={"tasks": (Task(name="watch", kind="continuous", label="seconds"),)})


@pytest.fixture
def hybrid(settings: Settings, tmp_path: Path) -> Iterator[tuple[Client, Graph]]:
    """A service whose only model has a binary and a continuous task."""
    graph = write_tiny_bundle(tmp_path / "bundles", "htlnet", 3, schema=SCHEMA)
    (tmp_path / "hybrid.yaml").write_text("version: 1\ndefault_model: htlnet\n")
    changed = {"bundles": tmp_path / "bundles", "experiments": tmp_path / "hybrid.yaml"}
    with running(settings.model_copy(update=changed)) as client:
        assert client.service.failure is None
        yield client, graph


def test_amounts_are_served_beside_probabilities(hybrid: tuple[Client, Graph]) -> None:
    client, graph = hybrid
    ids = [f"i{n}" for n in range(9)]
    status, reply = client.score({"user": {"id": "u1"}, "item_ids": ids, "context": {"hour": 0.7}})
    assert status == 200
    scores = expected(graph, USERS["u1"], {"hour": 0.7}, [ITEMS[i] for i in ids])
    assert set(reply["scores"]) == {"ctr", "watch"}  # nothing is composed of a probability and an amount
    assert np.abs(scores["watch"]).max() > 100
    np.testing.assert_allclose(reply["scores"]["watch"], scores["watch"], rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(reply["scores"]["ctr"], scores["ctr"], atol=1e-5)
    assert reply["degraded"] == []


def test_golden_amounts_that_differ_are_refused(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, "htlnet", 3, schema=ALONE, golden_shift=1.0)  # of thousands
    with pytest.raises(BundleError, match=r"task 'watch', golden case 0: .*20 of 20 cases differ"):
        load_model(tmp_path / "htlnet" / "v1", Settings(bundles=tmp_path))
