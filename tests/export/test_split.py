"""The three graphs of a split are the whole graph: for every model, and for schemas that lack a side."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from contract.errors import BundleError
from contract.rows import Layout
from contract.schema import Schema, Side
from export.draws import draw_split_inputs, joined
from export.graph import macs
from export.model import export_split
from export.parity import SplitSession, torch_scores, verify_split
from export.partition import partition
from tests.export.runs import untrained
from tests.export.test_model import SCHEMAS
from tests.training import tiny
from training.models import MODELS
from training.models.ranker import Ranker
from training.models.split import SplitRanker

EXACT = 1e-6
QUICK = ("htlnet", "ple")  # others are traced by `make test-all`; as PyTorch modules all are compared below
SLOW = pytest.mark.slow


def defaults(schema: Schema) -> Layout:
    """Cross fields and made-up defaults: the third id, and 0.5."""
    cross = schema.on(Side.CROSS)
    slots, numbers = sum(field.slots for field in cross), sum(not field.slots for field in cross)
    return Layout(cross, 0, np.full(slots, 3, np.int32), np.full(numbers, 0.5, np.float32))


def farthest(model: Ranker, schema: Schema, halves: dict[str, Path]) -> float:
    """Largest difference between the unsplit model and the split graphs over several shapes."""
    split, worst = SplitSession(halves, schema), 0.0
    for requests, items, candidates in ((1, 1, 1), (1, 200, 200), (3, 5, 40), (7, 300, 11)):
        inputs = draw_split_inputs(schema, requests, items, candidates, seed=candidates)
        expected, got = torch_scores(model, schema, joined(inputs)), split.scores(inputs)
        worst = max(worst, *(float(np.abs(got[task] - column).max()) for task, column in expected.items()))
    return worst


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=SLOW) for name in sorted(MODELS)])
def test_split_and_whole_are_one_function(name: str, tmp_path: Path) -> None:
    schema = tiny.schema()
    model = untrained(name, schema)
    halves = export_split(model, schema, defaults(schema), tmp_path)
    assert farthest(model, schema, halves) <= EXACT
    assert verify_split(model, schema, halves, defaults(schema)) <= EXACT  # the plain ones too
    kinds = {node.op_type for path in halves.values() for node in onnx.load(path).graph.node}
    assert not kinds & {"Shape", "Loop", "If", "Scan", "Expand", "ConstantOfShape"}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_schemas_that_lack_a_side(schema: Schema, tmp_path: Path) -> None:
    model = untrained("ple", schema)
    halves = export_split(model, schema, defaults(schema), tmp_path)
    assert farthest(model, schema, halves) <= EXACT
    assert ("item" in halves) == bool(schema.on(Side.ITEM))
    assert ("request" in halves) == bool(schema.request_fields)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_split_ranker_is_the_ranker(name: str) -> None:
    """Also for many rows of ids beyond their tables, which is quick without an export."""
    schema = tiny.schema()
    model = untrained(name, schema).eval()
    inputs = draw_split_inputs(schema, requests=20, items=100, candidates=2000, seed=3)
    with torch.inference_mode():
        expected = model(*(torch.from_numpy(array) for array in joined(inputs).values()))
        got = SplitRanker(model, schema).eval()(*(torch.from_numpy(array) for array in inputs.values()))
    for of_expected, of_got in zip(expected, got, strict=True):
        torch.testing.assert_close(of_got, of_expected, atol=EXACT, rtol=0)


def test_rows_that_meet_without_a_gather_are_refused() -> None:
    floats = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["r", 2]) for name in ("request_dense", "cross_dense")
    ]
    graph = helper.make_graph(
        [helper.make_node("Add", ["request_dense", "cross_dense"], ["ctr"])],
        "wrong",
        floats,
        [helper.make_tensor_value_info("ctr", TensorProto.FLOAT, ["r", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(BundleError, match="Add reads request rows ungathered"):
        partition(model)


def test_multiply_accumulates_of_a_row() -> None:
    weight = onnx.numpy_helper.from_array(np.zeros((5, 7), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 7])],
        [weight],
    )
    assert macs(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])) == 3 * 5 * 7
