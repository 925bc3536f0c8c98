"""The engine on exported bundles against PyTorch: halves kept or not, with and without cross features."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.bundle import Arrays, Bundle
from contract.rows import layout
from contract.schema import Side
from export.draws import draw_inputs
from export.parity import torch_scores
from service.scoring.engine import CpuEngine
from service.scoring.inputs import Inputs, from_arrays, merge
from tests.export.exported import exported
from training.checkpoint import load_checkpoint
from training.models.ranker import Ranker

EXACT = 1e-6
N = 40


@pytest.fixture(scope="module")
def bundle_and_model() -> tuple[Bundle, Ranker]:
    run, bundle = exported("dtn")
    return bundle, load_checkpoint(run).model


def plain(bundle: Bundle, inputs: Arrays) -> Arrays:
    """The same candidates without cross features."""
    cross = layout(bundle.schema, bundle.dictionaries, Side.CROSS)
    ids, dense = inputs["item_ids"].copy(), inputs["item_dense"].copy()
    ids[:, ids.shape[1] - len(cross.default_ids) :] = cross.default_ids
    dense[:, dense.shape[1] - len(cross.default_dense) :] = cross.default_dense
    return {**inputs, "item_ids": ids, "item_dense": dense}


def keyed(inputs: Arrays, first: int = 1) -> Inputs:
    """Inputs whose items have keys: slot n, content number `first`."""
    keys: NDArray[np.int64] = np.arange(len(inputs["item_ids"]), dtype=np.int64) | (first << 24)
    return replace(from_arrays(inputs), item_keys=keys)


def assert_scores(engine: CpuEngine, inputs: Inputs, expected: dict[str, NDArray[np.float32]]) -> None:
    for task, scores in engine.run(inputs).items():
        np.testing.assert_allclose(scores, expected[task], atol=EXACT, rtol=0)


@pytest.mark.parametrize("cross", [True, False])
def test_kept_or_not_the_scores_are_pytorchs(bundle_and_model: tuple[Bundle, Ranker], cross: bool) -> None:
    bundle, model = bundle_and_model
    drawn = draw_inputs(bundle.schema, 3, N, seed=5)
    arrays = drawn if cross else plain(bundle, drawn)
    expected = torch_scores(model, bundle.schema, arrays)
    engine = CpuEngine(bundle, items=1000, megabytes=64)
    assert engine.items is not None
    for inputs, hits in ((from_arrays(arrays), 0), (keyed(arrays), 0), (keyed(arrays), N)):  # not kept; entered; found
        before = engine.items.hits
        assert_scores(engine, inputs, expected)
        assert engine.items.hits - before == hits


def test_a_row_that_changed_has_another_key(bundle_and_model: tuple[Bundle, Ranker]) -> None:
    bundle, model = bundle_and_model
    engine = CpuEngine(bundle, items=1000, megabytes=64)
    for content in (1, 2):
        arrays = draw_inputs(bundle.schema, 1, N, seed=content)
        assert_scores(engine, keyed(arrays, content), torch_scores(model, bundle.schema, arrays))


@pytest.mark.parametrize("items", [0, 7, N])
def test_a_table_that_is_too_small(bundle_and_model: tuple[Bundle, Ranker], items: int) -> None:
    bundle, model = bundle_and_model
    engine = CpuEngine(bundle, items=items, megabytes=64)
    for seed in range(5):
        arrays = draw_inputs(bundle.schema, 2, N, seed)
        assert_scores(engine, keyed(arrays, seed + 1), torch_scores(model, bundle.schema, arrays))


def test_requests_that_share_a_run_and_parts_of_one(bundle_and_model: tuple[Bundle, Ranker]) -> None:
    bundle, model = bundle_and_model
    engine = CpuEngine(bundle, items=1000, megabytes=64)
    drawn = [draw_inputs(bundle.schema, 1, N, seed) for seed in range(3)]
    expected = [torch_scores(model, bundle.schema, arrays) for arrays in drawn]
    parts = [keyed(arrays, n + 1).part(5, 25) for n, arrays in enumerate(drawn)]
    got = engine.run(merge(parts))
    for n, of_request in enumerate(expected):
        for task, column in of_request.items():
            np.testing.assert_allclose(got[task][20 * n : 20 * n + 20], column[5:25], atol=EXACT, rtol=0)


def test_what_a_candidate_costs(bundle_and_model: tuple[Bundle, Ranker]) -> None:
    macs = bundle_and_model[0].manifest.macs
    assert macs["candidate_plain"] < macs["candidate"] < macs["model"]
