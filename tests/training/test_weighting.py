"""Weights of the tasks' losses against numbers by hand."""

import math

import pytest
import torch

from contract.errors import ConfigError
from training.models.heads import BinaryHead, Head, MeanHead, ZilnHead
from training.weighting import TaskWeighting

HEADS: dict[str, Head] = {"click": BinaryHead(1.0, "none"), "watch": MeanHead()}
LOSSES = torch.tensor([0.5, 3.0])


def test_weights_decay_by_epoch() -> None:
    weighting = TaskWeighting(HEADS, {"watch": 2.0}, {"watch": 0.25})
    assert list(weighting.parameters()) == []
    assert weighting(LOSSES, 0.0).tolist() == [0.5, 6.0]
    assert weighting(LOSSES, 0.5).tolist() == [0.5, 3.0]  # 2 * 0.25 ** 0.5 = 1
    assert weighting(LOSSES, 2.0).tolist() == [0.5, 0.375]


def test_learned_weights_halve_a_squared_error_and_pay_for_variance() -> None:
    weighting = TaskWeighting(HEADS, {"watch": 4.0}, {}, uncertainty=True)
    assert weighting.log_variances is not None
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([math.log(2.0), math.log(3.0)]))
    expected = [0.5 / 2 + math.log(2) / 2, 4 * (3.0 / (2 * 3) + math.log(3) / 2)]
    torch.testing.assert_close(weighting(LOSSES, 1.0), torch.tensor(expected))


def test_learned_variances_end_where_theory_says() -> None:
    weighting = TaskWeighting(HEADS, {}, {}, uncertainty=True)
    optimiser = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(500):
        optimiser.zero_grad()
        weighting(LOSSES, 0.0).sum().backward()
        optimiser.step()
    # d/ds (c exp(-s) L + s / 2) = 0 at exp(s) = 2 c L: the mean squared error itself, twice a cross entropy
    assert weighting.log_variances is not None
    torch.testing.assert_close(weighting.log_variances.exp(), torch.tensor([1.0, 3.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("key", ["task_weights", "task_weight_decay"])
def test_a_task_that_is_not_there_is_refused(key: str) -> None:
    named = {"buy": 1.0}
    with pytest.raises(ConfigError, match=f"{key}: 'buy' is not one of the tasks click, watch"):
        TaskWeighting(HEADS, named if key == "task_weights" else {}, {} if key == "task_weights" else named)


def test_uncertainty_of_a_loss_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ziln loss of task 'spent'.*model\.regression\.spent=mse"):
        TaskWeighting({"spent": ZilnHead("spent")}, {}, {}, uncertainty=True)
