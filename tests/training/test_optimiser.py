"""Optimisers: row-wise Adagrad against a loop, clipping with sparse gradients, decay, state."""

import numpy as np
import pytest
import torch
from torch import nn

from contract.errors import ConfigError
from tests.training import tiny
from training.config import Recipe, read_recipe
from training.models import Ranker, build_model
from training.optimiser import EPSILON, Optimiser, RowwiseAdagrad, clip
from training.schedule import rate


def recipe(*assignments: str) -> Recipe:
    return read_recipe("ple", assignments=["model.embedding=4", *assignments])


def table(rows: int = 6, width: int = 3) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(rows, width, sparse=True)


def rowwise(weight: np.ndarray, steps: list[tuple[list[int], np.ndarray]], lr: float, decay: float) -> np.ndarray:
    """Row-wise Adagrad, a row at a time; each step has row numbers and their gradients."""
    weight, total = weight.astype(np.float64), np.zeros(len(weight))
    for rows, gradients in steps:
        for row in set(rows):
            g = sum(gradients[place] for place, met in enumerate(rows) if met == row)
            total[row] += np.mean(g**2)
            weight[row] -= lr * (g / (np.sqrt(total[row]) + EPSILON) + decay * weight[row])
    return weight


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rowwise_adagrad_is_the_loop_over_rows(decay: float) -> None:
    embedding, random = table(), np.random.default_rng(0)
    before = embedding.weight.detach().numpy().copy()
    optimiser = RowwiseAdagrad([embedding.weight], lr=0.3, weight_decay=decay)
    steps = [(rows, random.normal(size=(len(rows), 3))) for rows in ([1, 4, 1], [4, 0], [1, 1, 1])]
    for rows, gradients in steps:
        optimiser.zero_grad()
        (embedding(torch.tensor(rows)) * torch.tensor(gradients, dtype=torch.float32)).sum().backward()
        optimiser.step()
    expected = rowwise(before, steps, 0.3, decay)
    np.testing.assert_allclose(embedding.weight.detach().numpy(), expected, atol=1e-6)
    assert np.array_equal(embedding.weight.detach().numpy()[[2, 3, 5]], before[[2, 3, 5]])  # never met
    assert optimiser.state[embedding.weight]["sum"].shape == (6,)


def test_clipping_counts_sparse_and_dense_gradients_and_a_row_met_twice_once() -> None:
    embedding, dense, idle = table(), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    (embedding(torch.tensor([1, 1])).sum() + (dense * torch.tensor([3.0, 4.0])).sum()).backward()
    norm = np.sqrt(3 * 2**2 + 3**2 + 4**2)  # row 1 has (2, 2, 2)
    clip([embedding.weight, dense, idle], 1.0)
    assert embedding.weight.grad is not None
    assert dense.grad is not None
    np.testing.assert_allclose(embedding.weight.grad.to_dense()[1], [2 / norm] * 3, rtol=1e-5)
    np.testing.assert_allclose(dense.grad, np.array([3, 4]) / norm, rtol=1e-5)
    clip([embedding.weight, dense], 2.0)  # below: as it is
    np.testing.assert_allclose(dense.grad, np.array([3, 4]) / norm, rtol=1e-5)


def test_the_rate_warms_up_and_decays() -> None:
    assert [rate(step, "constant", 3, 10) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert [rate(step, "linear", 0, 4) for step in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert [rate(step, "linear", 2, 6) for step in (2, 4, 6)] == [1, 0.5, 0]
    assert [round(rate(step, "cosine", 0, 4), 9) for step in range(5)] == [
        1, round((1 + 0.5**0.5) / 2, 9), 0.5, round((1 - 0.5**0.5) / 2, 9), 0,
    ]  # fmt: skip


def test_the_optimiser_follows_the_schedule_in_all_groups() -> None:
    model = build_model("ple", tiny.schema(), recipe().model)
    chosen = recipe("schedule=linear", "learning_rate=0.1", "table_learning_rate=0.4", "table_optimiser=sparse_adam")
    optimiser = Optimiser(model, chosen, total_steps=4)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for embedding in (model.request.table, model.item.table):
        embedding.weight.grad = torch.zeros_like(embedding.weight).to_sparse(1)
    optimiser.step(3)
    assert [group["lr"] for group in optimiser.groups] == [0.1, pytest.approx(0.025)]
    assert optimiser.learning_rate == pytest.approx(0.025)


def test_tables_decay_at_their_own_rate() -> None:
    recipe = read_recipe("dtn", assignments=["table_decay=0.5", "weight_decay=0.25", "table_learning_rate=0.125"])
    model = build_model("dtn", tiny.schema(), recipe.model)
    tables, others = Optimiser(model, recipe, 1).groups
    assert (tables["weight_decay"], others["weight_decay"]) == (0.5, 0.25)
    assert (tables["lr"], others["lr"]) == (0.125, recipe.learning_rate)
    assert len(tables["params"]) == 2 + 1  # two sides, and the code books of all banks
    assert len(tables["params"]) + len(others["params"]) == len(list(model.parameters()))


def take_steps(model: Ranker, optimiser: Optimiser, steps: range) -> None:
    """Steps on one batch."""
    *inputs, _ = tiny.inputs(tiny.schema(), items=32, requests=32)
    labels = torch.randint(0, 2, (32, 2), generator=torch.Generator().manual_seed(0)).float()
    model.train()
    for step in steps:
        optimiser.zero_grad()
        sums, counts = model.losses(model.raw(*inputs), labels, torch.ones_like(labels))
        model.backward(sums / counts)
        optimiser.step(step)


def fresh(name: str, *settings: str) -> tuple[Ranker, Optimiser, Recipe]:
    chosen = read_recipe(name, assignments=["learning_rate=0.05", "model.dropout=0", *settings])
    torch.manual_seed(0)
    model = build_model(name, tiny.schema(), chosen.model)
    return model, Optimiser(model, chosen, 9), chosen


@pytest.mark.parametrize("name", ["ple", "dtn"])
@pytest.mark.parametrize("kind", ["rowwise_adagrad", "sparse_adam"])
def test_sparse_gradients_reach_exactly_the_rows_met(name: str, kind: str) -> None:
    model, optimiser, _ = fresh(name, f"table_optimiser={kind}")
    weight = model.request.table.weight
    before = weight.detach().clone()
    take_steps(model, optimiser, range(1))
    assert weight.grad is not None
    assert weight.grad.is_sparse
    changed = (weight.detach() != before).any(1)
    assert torch.equal(changed, (weight.grad.to_dense() != 0).any(1))
    assert not changed.all()


def test_sparse_gradients_are_the_dense_ones() -> None:
    grads = []
    for kind in ("adamw", "sparse_adam"):
        model, optimiser, _ = fresh("dtn", f"table_optimiser={kind}")
        take_steps(model, optimiser, range(1))
        grads.append({name: p.grad for name, p in model.named_parameters()})
    for name, grad in grads[0].items():
        other = grads[1][name]
        assert grad is not None
        assert other is not None
        torch.testing.assert_close(grad, other.to_dense() if other.is_sparse else other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "rowwise_adagrad", "sparse_adam"])
def test_state_is_restored_bit_for_bit(kind: str) -> None:
    whole, whole_optimiser, _ = fresh("ple", f"table_optimiser={kind}")
    take_steps(whole, whole_optimiser, range(4))
    half, optimiser, chosen = fresh("ple", f"table_optimiser={kind}")
    take_steps(half, optimiser, range(2))
    state = {name: tensor.clone() for name, tensor in optimiser.state().items()}
    again = Optimiser(half, chosen, 9)  # a new one, with nothing in it
    again.load_state(state)
    take_steps(half, again, range(2, 4))
    for one, other in zip(whole.parameters(), half.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("table_decay=0.1", "table_optimiser=sparse_adam"), "sparse_adam has no decay"),
        (("table_optimiser=rowwise_adagrad", "compile=true"), "no sparse gradients"),
    ],
)
def test_settings_that_exclude_each_other(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(*settings)
