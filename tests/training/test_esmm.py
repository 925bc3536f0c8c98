"""ESMM: its towers and its loss over the entire space against sums in numpy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from contract.errors import ConfigError
from contract.schema import Task
from tests.training import reference, tiny
from training.models.esmm import ESMM

CHAIN = (
    Task(name="ctr", label="c"),
    Task(name="cvr", label="b", space="ctr"),
    Task(name="fav", label="f"),
    Task(name="paid", label="p", space="cvr"),
    Task(name="spend", label="s", kind="continuous", space="ctr"),
)
#                       c b f p s; bought and paid, clicked only, bought, not clicked, clicked and conversion unknown
LABELS = torch.tensor([[1.0, 1, 0, 1, 5], [1, 0, 1, 0, 2], [1, 1, 0, 0, 1], [0, 0, 1, 0, 0], [1, 0, 0, 0, 3]])
COUNTED = torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [1, 0, 1, 0, 1]])


def build(tasks: tuple[Task, ...] = CHAIN, **settings: object) -> ESMM:
    model = reference.build("esmm", tasks, tower=(5, 3), **settings)
    assert isinstance(model, ESMM)
    return model


def cross_entropy(p: NDArray[np.float64], y: list[int], weight: float = 1.0) -> float:
    """Sum over rows, positives weighted."""
    return float(sum(-weight * np.log(q) if label else -np.log(1 - q) for q, label in zip(p, y, strict=True)))


def test_towers_share_the_embedding_alone() -> None:
    model = build()
    vectors = reference.sample(model)
    hidden = reference.experts(model.towers, reference.numbers(vectors).reshape(reference.ROWS, -1))
    expected = np.hstack([reference.linear(out, h) for out, h in zip(model.outputs, hidden, strict=True)])
    np.testing.assert_allclose(reference.scored(model, vectors), expected, atol=1e-5)


def test_conversion_learns_through_the_product_over_all_impressions() -> None:
    raw = torch.randn(5, 5)
    sums, counts = build().losses(raw, LABELS, COUNTED)
    ctr, cvr, fav, paid = reference.sigmoid(reference.numbers(raw)[:, :4]).T
    known = [0, 1, 2, 3]  # in the last row nobody knows whether a click became a conversion
    expected = [
        cross_entropy(ctr, [1, 1, 1, 0, 1]),
        cross_entropy((ctr * cvr)[known], [1, 0, 1, 0]),
        cross_entropy(fav, [0, 1, 0, 1, 0]),
        cross_entropy((ctr * cvr * paid)[known], [1, 0, 0, 0]),
        float(((raw[:, 4] - LABELS[:, 4]).square() * COUNTED[:, 4]).sum()),
    ]
    np.testing.assert_allclose(sums.numpy(), expected, rtol=1e-4)
    assert counts.tolist() == [5, 4, 5, 4, 4]


def test_a_conversion_moves_the_click_tower_too() -> None:
    raw = torch.zeros(5, 5, requires_grad=True)
    sums, _ = build().losses(raw, LABELS, COUNTED)
    sums[1].backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert [bool(column.any()) for column in raw.grad.T] == [True, True, False, False, False]


def test_positive_weights_leave_the_served_probabilities_right() -> None:
    """The minimum of the weighted loss on labels with known rates serves those rates."""
    clicks, buys, rows = 0.4, 0.25, 1000
    labels = torch.zeros(rows, 2)
    labels[: int(clicks * rows), 0] = 1
    labels[: int(clicks * buys * rows), 1] = 1
    model = build(CHAIN[:2], positive_weight={"ctr": 5.0, "cvr": 20.0}, calibration="none")
    raw = torch.zeros(1, 2, requires_grad=True)
    optimiser = torch.optim.LBFGS([raw], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        sums, counts = model.losses(raw.expand(rows, 2), labels, torch.stack([torch.ones(rows), labels[:, 0]], dim=1))
        loss = (sums / counts).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    served = [head.value(part).item() for head, part in zip(model.each_head, model.parts(raw), strict=True)]
    np.testing.assert_allclose(served, [clicks, buys], atol=1e-3)


def test_a_space_after_its_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="'cvr' is in the space of 'ctr': put 'ctr' before it in the schema"):
        build((tiny.BUY, tiny.CLICK))
