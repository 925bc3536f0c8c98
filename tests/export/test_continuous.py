"""Parity of amounts: a mean of thousands and a zero-inflated log-normal, beside a probability."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from contract.bundle import TOLERANCE, difference
from contract.errors import BundleError
from contract.schema import Task
from export.draws import draw_inputs
from export.model import export_graph
from export.parity import cpu_session, onnx_scores, torch_scores, verify
from tests.training import tiny
from training.models import MODELS, Ranker, build_model

PAID = Task(name="paid", kind="continuous", label="p", space="ctr")
WATCH = Task(name="watch", kind="continuous", label="w")
SCHEMA = tiny.schema(tasks=(tiny.CLICK, PAID, WATCH))


def measured(name: str) -> Ranker:
    """A model of three tasks, scaled to revenue of a few dozens and seconds of a few thousands."""
    torch.manual_seed(0)
    settings = {"regression": {"paid": "ziln"}, "embedding": 4, "tower": (8,)}
    model = build_model(name, SCHEMA, MODELS[name].settings.model_validate(settings))
    inputs = tiny.inputs(SCHEMA, items=500, requests=500)
    labels = torch.stack([torch.zeros(500), torch.randn(500).exp() * 30, 5000 + 900 * torch.randn(500)], dim=1)
    model.measure(inputs[1], inputs[3], labels, torch.ones(500, 3))
    return model.eval()


@pytest.mark.parametrize("name", ["ple", "htlnet"])
def test_amounts_are_within_a_relative_tolerance(name: str, tmp_path: Path) -> None:
    model = measured(name)
    export_graph(model, SCHEMA, tmp_path / "model.onnx")
    assert verify(model, SCHEMA, tmp_path / "model.onnx") <= TOLERANCE
    inputs = draw_inputs(SCHEMA, requests=3, items=200, seed=1)
    expected, got = torch_scores(model, SCHEMA, inputs), onnx_scores(cpu_session(tmp_path / "model.onnx"), inputs)
    assert expected["watch"].mean() > 3000
    assert expected["paid"].min() > 0
    assert all(np.ptp(scores) > 1e-3 for scores in expected.values())
    assert max(difference(expected[task], got[task]).max() for task in expected) <= TOLERANCE


def test_an_amount_that_differs_is_refused(tmp_path: Path) -> None:
    model, graph = measured("htlnet"), tmp_path / "model.onnx"
    torch.nn.init.normal_(model.get_parameter("towers.2.head.bias"))  # zeros have no initializer of their own
    export_graph(model, SCHEMA, graph)
    content = onnx.load(graph)
    bias = next(weight for weight in content.graph.initializer if weight.name.endswith("towers.2.head.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))  # a second of 900
    onnx.save(content, graph)
    with pytest.raises(BundleError, match=r"task 'watch' differs from PyTorch by 1\..*e-04 .* no bundle was written"):
        verify(model, SCHEMA, graph)
