"""Checkpoint to bundle: parity for every shape of schema, and a refusal where the graph computes something else."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from contract.bundle import TOLERANCE
from contract.errors import BundleError
from contract.schema import Field, Schema, Side, Task
from export.draws import draw_inputs
from export.model import export_graph, export_model
from export.parity import cpu_session, onnx_scores, verify
from tests.export.exported import exported
from tests.export.runs import run_folder, untrained
from tests.training import tiny
from training.models import MODELS


def fields(*sides: Side) -> Sequence[Field]:
    return [field for field in tiny.FIELDS if field.side in sides]


OTHERS = sorted(set(MODELS) - {"aitm", "dtn", "esmm", "ple"})
SCHEMAS = {
    "one task, numbers on one side only": tiny.schema([f for f in tiny.FIELDS if f.name != "price"], [tiny.CLICK]),
    "no item fields": tiny.schema(fields(Side.USER, Side.CONTEXT)),
    "no request fields": tiny.schema(fields(Side.ITEM, Side.CROSS)),
}


@pytest.mark.parametrize("name", ["ple", "dtn"])
def test_the_bundle_says_what_it_is_and_gives_its_golden_scores(name: str) -> None:
    _, bundle = exported(name)
    inputs, expected = bundle.golden()
    scores = onnx_scores(cpu_session(bundle.model_path), inputs)
    assert bundle.manifest.model == name
    assert bundle.manifest.tasks == ("ctr", "cvr") == tuple(scores)
    assert bundle.manifest.dictionary_sizes["user"] == 21
    assert bundle.manifest.parity <= TOLERANCE
    assert b"site-packages" not in bundle.model_path.read_bytes()  # no trace of the machine that exported
    for task, wanted in expected.items():
        assert np.ptp(wanted) > 1e-4  # cases that all score alike would prove nothing
        np.testing.assert_allclose(scores[task], wanted, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["aitm", "esmm", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_every_other_model_exports_a_chain_that_ends_in_a_number(name: str, tmp_path: Path) -> None:
    spend = Task(name="spend", label="amount", kind="continuous", space="cvr")
    schema = tiny.schema(tasks=(tiny.CLICK, tiny.BUY, spend))
    model = untrained(name, schema)
    export_graph(model, schema, tmp_path / "model.onnx")
    assert verify(model, schema, tmp_path / "model.onnx") <= TOLERANCE


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ple", "dtn"])
def test_every_shape_of_schema_exports(name: str, schema: Schema, tmp_path: Path) -> None:
    model = untrained(name, schema)
    export_graph(model, schema, tmp_path / "model.onnx")
    assert verify(model, schema, tmp_path / "model.onnx") <= TOLERANCE


def test_a_graph_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    schema, graph = tiny.schema(), tmp_path / "model.onnx"
    model = untrained("ple", schema)
    torch.nn.init.normal_(model.get_parameter("towers.1.head.bias"))  # zeros have no initializer of their own
    export_graph(model, schema, graph)
    content = onnx.load(graph)
    bias = next(weight for weight in content.graph.initializer if weight.name.endswith("towers.1.head.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))
    onnx.save(content, graph)
    with pytest.raises(BundleError, match=r"task 'cvr' differs from PyTorch by .* no bundle was written"):
        verify(model, schema, graph)


def test_a_refusal_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.parity.TOLERANCE", -1.0)
    with pytest.raises(BundleError, match="no bundle was written"):
        export_model(run_folder(tmp_path, "ple"), tmp_path / "bundles")
    assert not (tmp_path / "bundles").exists()


def test_drawn_inputs_hold_what_parity_must_cover() -> None:
    ids = draw_inputs(tiny.schema(), requests=3, items=1000, seed=0)["item_ids"][:, 0]
    size = next(field.size for field in tiny.FIELDS if field.name == "item")
    assert (ids == 0).any()
    assert (ids >= size).any()
    assert (ids < 0).any()
    assert ((ids > 0) & (ids < size)).sum() > 500
