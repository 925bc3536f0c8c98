"""Losses by task against sums by hand."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from contract.schema import Task
from training.losses import GAP, conditional_logit, joint_logit, joint_targets, log_of_not, space_losses

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


def test_a_continuous_task_keeps_its_own_space() -> None:
    tasks = (CHAIN[0], Task(name="paid", label="p", kind="continuous", space="ctr"))
    labels, counted = torch.tensor([[1.0, 7], [0, 0]]), torch.tensor([[1.0, 1], [1, 0]])
    joint, known = joint_targets(tasks, labels, counted)
    assert torch.equal(joint, labels)
    assert torch.equal(known, counted)


def test_the_logit_of_a_product_is_that_of_the_product() -> None:
    a, b = torch.randn(50) * 3, torch.randn(50) * 3
    p = (1 / (1 + np.exp(-a.double().numpy()))) * (1 / (1 + np.exp(-b.double().numpy())))
    np.testing.assert_allclose(joint_logit([a, b]).numpy(), np.log(p / (1 - p)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("logit", [-80.0, 80.0])
def test_the_loss_of_a_product_stays_finite(logit: float) -> None:
    z = torch.full((2,), logit, requires_grad=True)
    loss = bce(joint_logit([z, z]), torch.tensor([0.0, 1.0]), reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


def test_the_conditional_logit_undoes_the_product() -> None:
    space, within = torch.randn(200) * 4, (torch.randn(200) * 2).clamp(max=3)
    torch.testing.assert_close(conditional_logit(joint_logit([space, within]), space), within, rtol=1e-3, atol=2e-3)


def test_a_conditional_probability_stays_below_one_and_finite() -> None:
    joint, space = torch.tensor([3.0, 80, 0, -80, 50]), torch.tensor([1.0, -80, 0, 80, 50])
    logits = conditional_logit(joint, space)
    s = 1 / (1 + math.exp(-1.0))
    j = 1 / (1 + math.exp(-1.0 + GAP))  # the joint as capped
    assert torch.isfinite(logits).all()
    assert logits[0].item() == pytest.approx(math.log(j / (s - j)), rel=1e-3)
    assert logits[3].item() == pytest.approx(-80)


def test_log_of_not() -> None:
    p = torch.tensor([1e-6, 0.3, 0.5, 0.9])
    torch.testing.assert_close(
        log_of_not(p.log()), torch.tensor([math.log1p(-x) for x in p.tolist()]), rtol=1e-4, atol=0
    )
