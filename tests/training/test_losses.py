"""Losses by task against sums by hand."""

import math

import numpy as np
import pytest
import torch

from contract.schema import Task
from training.losses import joint_targets, log_of_not, product_loss, space_losses

CHAIN = (Task(name="ctr", label="c"), Task(name="cvr", label="b", space="ctr"), Task(name="fav", label="f"))


def test_each_task_weighs_in_over_its_own_rows() -> None:
    each, counted = torch.tensor([[1.0, 2.0], [3.0, 50.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    sums, counts = space_losses(each, counted)
    assert (sums.tolist(), counts.tolist()) == ([4.0, 2.0], [2.0, 1.0])


def test_joint_targets_are_click_and_conversion_over_all_impressions() -> None:
    #                       bought, clicked, not seen to buy, not clicked, click unknown
    labels = torch.tensor([[1.0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    counted = torch.tensor([[1.0, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1], [0, 0, 1]])
    joint, known = joint_targets(CHAIN, labels, counted)
    assert joint[:, 1].tolist() == [1, 0, 0, 0, 0]
    assert known[:, 1].tolist() == [1, 1, 0, 1, 0]
    assert torch.equal(joint[:, [0, 2]], labels[:, [0, 2]])
    assert torch.equal(known[:, [0, 2]], counted[:, [0, 2]])


def test_joint_targets_follow_a_chain_of_three() -> None:
    tasks = (*CHAIN[:2], Task(name="paid", label="p", space="cvr"))
    labels, counted = (
        torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]]),
        torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 0, 0]]),
    )
    joint, known = joint_targets(tasks, labels, counted)
    assert joint[:, 2].tolist() == [1, 0, 0]
    assert known[:, 2].tolist() == [1, 1, 1]


def test_the_loss_of_a_product_is_cross_entropy_of_the_product() -> None:
    a, b, labels = torch.randn(50) * 3, torch.randn(50) * 3, torch.randint(0, 2, (50,)).float()
    p = (1 / (1 + np.exp(-a.double().numpy()))) * (1 / (1 + np.exp(-b.double().numpy())))
    expected = -np.where(labels.numpy() == 1, np.log(p), np.log(1 - p))
    np.testing.assert_allclose(product_loss([a, b], labels).numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("logit", [-80.0, 80.0])
def test_the_loss_of_a_product_stays_finite(logit: float) -> None:
    z = torch.full((2,), logit, requires_grad=True)
    loss = product_loss([z, z], torch.tensor([0.0, 1.0])).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


def test_log_of_not() -> None:
    p = torch.tensor([1e-6, 0.3, 0.5, 0.9])
    torch.testing.assert_close(
        log_of_not(p.log()), torch.tensor([math.log1p(-x) for x in p.tolist()]), rtol=1e-4, atol=0
    )
