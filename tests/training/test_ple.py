"""PLE's extraction levels against the paper's equations in numpy."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.training import tiny
from training.models import build_model
from training.models.experts import Experts, Gate
from training.models.features import GatheredFeatures
from training.models.ple import PLE, Level, PLESettings

Floats = NDArray[np.float32]


def outputs(experts: object, x: Tensor) -> Floats:
    """Outputs of one group of single-layer experts: [N, count, width]."""
    assert isinstance(experts, Experts)
    weight, bias = experts.first.weight.detach().numpy(), experts.first.bias.detach().numpy()
    result: Floats = np.maximum(x.detach().numpy() @ weight.T + bias, 0).reshape(len(x), experts.count, -1)
    return result


def gated(gate: object, selector: Tensor, rows: list[Floats]) -> Floats:
    """softmax over all rows of S, in a Python loop."""
    assert isinstance(gate, Gate)
    weight, bias = gate.scores.weight.detach().numpy(), gate.scores.bias.detach().numpy()
    result = []
    for n, s in enumerate(np.concatenate(rows, axis=1)):
        exponentials = np.exp(weight @ selector[n].detach().numpy() + bias)
        result.append((exponentials / exponentials.sum()) @ s)
    return np.stack(result)


def test_a_level_is_cgc_with_a_shared_gate_over_all_experts() -> None:
    settings = PLESettings(experts=2, shared_experts=3, expert_layers=(4,))
    level = Level(2, 5, settings, last=False)
    inputs = [torch.randn(6, 5) for _ in range(3)]
    fused = level(inputs)
    own_1, own_2, shared = (outputs(experts, x) for experts, x in zip(level.experts, inputs, strict=True))
    expected = [
        gated(level.gates[0], inputs[0], [own_1, shared]),
        gated(level.gates[1], inputs[1], [own_2, shared]),
        gated(level.shared_gate, inputs[2], [own_1, own_2, shared]),
    ]
    for found, wanted in zip(fused, expected, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-5)


def test_the_last_level_has_no_shared_gate() -> None:
    level = Level(3, 5, PLESettings(), last=True)
    assert level.shared_gate is None
    assert len(level([torch.randn(2, 5)] * 4)) == 3


def test_towers_read_what_the_levels_gave() -> None:
    model = build_model("ple", tiny.schema(), PLESettings(levels=3))
    assert isinstance(model, PLE)
    vectors = torch.randn(4, len(model.field_names), 16)
    fused = [vectors.flatten(1)] * 3
    for level in model.levels:
        fused = level(fused)
    expected = torch.cat([tower(x) for tower, x in zip(model.towers, fused, strict=True)], dim=1)
    torch.testing.assert_close(model.score(GatheredFeatures(vectors, torch.zeros(4, 0))), expected)


def test_one_tasks_own_experts_do_not_reach_the_others_first_level() -> None:
    level = Level(2, 5, PLESettings(), last=True)
    first, _ = level([torch.randn(3, 5)] * 3)
    first.sum().backward()
    assert not any(p.grad is not None and p.grad.any() for p in level.experts[1].parameters())
    assert all(p.grad is not None for p in level.experts[2].parameters())
