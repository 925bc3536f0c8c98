"""Single task against a network a task in numpy; tasks that touch nothing of each other."""

import numpy as np
import torch

from contract.schema import Task
from tests.training import reference, tiny
from training.models.single_task import SingleTask

TASKS = tuple(Task(name=f"t{k}", label=f"label {k}") for k in range(3))


def build(tasks: tuple[Task, ...] = TASKS) -> SingleTask:
    model = reference.build("single_task", tasks, layers=(5, 6), tower=(3,))
    assert isinstance(model, SingleTask)
    return model


def test_task_k_is_a_network_on_slice_k_of_the_embedding() -> None:
    model = build()
    vectors = reference.sample(model, width=3 * 4)
    expected = []
    for k in range(3):
        own = reference.numbers(vectors)[:, :, 4 * k : 4 * (k + 1)].reshape(reference.ROWS, -1)
        (hidden,) = reference.experts(model.bottoms[k], own)
        expected.append(reference.tower(model.towers[k], hidden))
    np.testing.assert_allclose(reference.scored(model, vectors), np.hstack(expected), atol=1e-5)


def test_gradients_do_not_mix() -> None:
    model = build().train()
    model.raw(*tiny.inputs(tiny.schema(tasks=TASKS), 9, 9)[:4])[:, 1].sum().backward()  # type: ignore[no-untyped-call]
    for side in (model.request, model.item):
        for weight in (side.table.weight, side.numbers.direction, side.numbers.levels):
            assert weight.grad is not None
            moved = [bool(part.any()) for part in weight.grad.chunk(3, dim=-1)]
            assert moved == [False, True, False]
    for parts in (model.bottoms, model.towers):
        moved = [any(p.grad is not None and bool(p.grad.any()) for p in part.parameters()) for part in parts]
        assert moved == [False, True, False]


def test_a_step_of_all_tasks_is_the_step_of_each_alone() -> None:
    model = build().train()
    inputs = tiny.inputs(tiny.schema(tasks=TASKS), 32, 32)[:4]
    labels, counted = torch.randint(0, 2, (32, 3)).float(), torch.ones(32, 3)
    together = torch.zeros(())
    for chosen in ([0, 1, 2], [0], [1], [2]):
        model.zero_grad()
        sums, _ = model.losses(model.raw(*inputs), labels, counted)
        model.backward(sums[chosen])
        gradient = model.request.table.weight.grad
        assert gradient is not None
        if len(chosen) == 3:
            together = gradient.clone()
        else:
            own = slice(4 * chosen[0], 4 * (chosen[0] + 1))
            torch.testing.assert_close(gradient[:, own], together[:, own])
