"""The joint loss against a sum by hand."""

import math

import pytest
import torch

from training.losses import joint_loss


def test_each_task_is_averaged_over_its_own_rows_and_weighted() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [math.log(3), 5.0]], requires_grad=True)
    labels, counted = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    loss = joint_loss(logits, labels, counted, torch.tensor([1.0, 10.0]))
    first = (math.log(2) + math.log(4)) / 2  # -log 1/2 and -log(1 - 3/4)
    assert loss.item() == pytest.approx(first + 10 * math.log(4 / 3), abs=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[1, 1] == 0


def test_a_task_without_rows_adds_nothing() -> None:
    loss = joint_loss(torch.ones(3, 1), torch.zeros(3, 1), torch.zeros(3, 1), torch.ones(1))
    assert loss.item() == 0
