"""STEM against its equations in numpy; gradients that stay with their task."""

import numpy as np
import pytest
import torch

from contract.schema import Task
from tests.training import reference, tiny
from training.models.stem import STEM, Level, Selector, STEMSettings

TASKS = (Task(name="a", label="x"), Task(name="b", label="y"))
SMALL = {"experts": 2, "shared_experts": 3, "expert_layers": (5,), "gate_layers": (3,), "tower": (3,)}


def build(levels: int = 1) -> STEM:
    model = reference.build("stem", TASKS, levels=levels, **SMALL)
    assert isinstance(model, STEM)
    return model


def gate(selector: object, x: reference.Floats) -> reference.Floats:
    """Scores of all experts."""
    assert isinstance(selector, Selector)
    (hidden,) = reference.experts(selector.hidden, x)
    return reference.linear(selector.scores, hidden)


def level_of(module: object, a: reference.Floats, b: reference.Floats, s: reference.Floats) -> list[reference.Floats]:
    """What one level gives tasks a and b, and the shared group if it has a gate."""
    assert isinstance(module, Level)
    outputs = [out for group, x in zip(module.experts, (a, b, s), strict=True) for out in reference.experts(group, x)]
    assert len(outputs) == 2 + 2 + 3
    return [
        reference.mixed(gate(selector, x), outputs)
        for selector, x in zip(module.selectors, (a + s, b + s, s), strict=False)
    ]


@pytest.mark.parametrize("levels", [1, 2])
def test_gates_read_own_plus_shared_and_mix_all_experts(levels: int) -> None:
    model = build(levels)
    vectors = reference.sample(model, width=3 * 4)
    fused = [part.reshape(reference.ROWS, -1) for part in np.split(reference.numbers(vectors), 3, axis=2)]
    for level in model.levels:
        fused = level_of(level, *fused)
    expected = np.hstack([reference.tower(tower, x) for tower, x in zip(model.towers, fused, strict=True)])
    np.testing.assert_allclose(reference.scored(model, vectors), expected, atol=1e-5)


def test_a_task_moves_its_own_experts_and_embeddings_and_the_shared_ones() -> None:
    model = build().train()
    model.raw(*tiny.inputs(tiny.schema(tasks=TASKS), 9, 9)[:4])[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    gradient = model.item.table.weight.grad
    assert gradient is not None
    assert [bool(part.any()) for part in gradient.chunk(3, dim=1)] == [True, False, True]
    experts = model.levels[0].experts
    assert isinstance(experts, torch.nn.ModuleList)
    assert [any(p.grad is not None and bool(p.grad.any()) for p in group.parameters()) for group in experts] == [
        True,
        False,
        True,
    ]


def test_the_last_level_has_no_shared_gate() -> None:
    settings = STEMSettings.model_validate(SMALL)
    assert [len(Level(2, 5, settings, last).selectors) for last in (False, True)] == [3, 2]
