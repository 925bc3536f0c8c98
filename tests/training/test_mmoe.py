"""MMoE against its equation in numpy."""

import numpy as np

from contract.schema import Task
from tests.training import reference
from training.models.mmoe import MMoE

TASKS = tuple(Task(name=f"t{k}", label=f"label {k}") for k in range(3))


def test_each_task_gates_all_experts() -> None:
    model = reference.build("mmoe", TASKS, experts=4, expert_layers=(5, 6), tower=(3,))
    assert isinstance(model, MMoE)
    vectors = reference.sample(model)
    x = reference.numbers(vectors).reshape(reference.ROWS, -1)
    outputs = reference.experts(model.experts, x)
    assert len(outputs) == 4
    scores = reference.linear(model.gates, x)  # [N, 3 tasks x 4 experts]
    fused = [reference.mixed(scores[:, 4 * k : 4 * (k + 1)], outputs) for k in range(3)]
    expected = np.hstack([reference.tower(tower, g) for tower, g in zip(model.towers, fused, strict=True)])
    np.testing.assert_allclose(reference.scored(model, vectors), expected, atol=1e-5)
