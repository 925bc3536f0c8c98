"""HTLNet against the paper's equations in numpy."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contract.errors import ConfigError
from contract.schema import Side, Task
from tests.training import tiny
from training.models import build_model
from training.models.features import GatheredFeatures
from training.models.htlnet import FusionUnit, HTLNet, HTLNetSettings, LabelUnit, Receiver, adjust
from training.models.ranker import Ranker

Floats = NDArray[np.float64]
CLICK, LIKE = Task(name="click", label="c"), Task(name="like", label="l")
WATCH = Task(name="watch", kind="continuous", label="w")
SMALL = {"embedding": 3, "tower": (4, 5), "label_width": 2}


def build(*tasks: Task, **settings: object) -> HTLNet:
    """A small model of these tasks, in evaluation mode."""
    torch.manual_seed(0)
    model = build_model("htlnet", tiny.schema(tasks=tasks), HTLNetSettings.model_validate({**SMALL, **settings}))
    assert isinstance(model, HTLNet)
    return model.eval()


def raw_of(model: HTLNet, vectors: Tensor) -> Tensor:
    return model.score(GatheredFeatures(vectors, torch.zeros(len(vectors), 0)))


def linear(layer: object, x: Floats) -> Floats:
    assert isinstance(layer, nn.Linear)
    bias = dict(layer.named_parameters()).get("bias", torch.zeros(()))
    product: Floats = x @ layer.weight.detach().double().numpy().T + bias.detach().double().numpy()
    return product


def fused(unit: object, sources: list[Floats]) -> Floats:
    """Equations 13 and 14, a row and a source at a time."""
    assert isinstance(unit, FusionUnit)
    rows = []
    for row in zip(*sources, strict=True):
        scores = [0.0]
        if unit.pair is not None:
            pairs = [np.split(linear(unit.pair, u), 2) for u in row]
            scores = [float(h2 @ h3) / len(h2) ** 0.5 for h2, h3 in pairs]
        exponentials = np.exp(scores)
        rows.append(sum(a * linear(unit.value, u) for a, u in zip(exponentials / exponentials.sum(), row, strict=True)))
    return np.stack(rows)


def expected(model: HTLNet, x: Floats, chain: list[int], binary: set[int]) -> dict[int, Floats]:
    """Raw outputs by task, from one first layer [W_e, W_rep, W_le] over the concatenated input of each tower."""
    raw: dict[int, Floats] = {}
    reps: list[Floats] = []
    labels: list[Floats] = []
    for place, k in enumerate(chain):
        hidden = linear(model.firsts[place], x)
        if place:
            receiver = model.receivers[place - 1]
            assert isinstance(receiver, Receiver)
            parts = [fused(receiver.representation, reps)] + ([fused(receiver.label, labels)] if labels else [])
            hidden = hidden + linear(receiver.first, np.concatenate(parts, axis=1))
        rep = np.maximum(hidden, 0)
        second, head = [layer for layer in model.towers[place].modules() if isinstance(layer, nn.Linear)]
        raw[k] = linear(head, np.maximum(linear(second, rep), 0))
        reps.append(rep)
        if k in binary and place < len(chain) - 1:
            p = 1 / (1 + np.exp(-raw[k]))
            unit = model.label_units[len(labels)]
            assert isinstance(unit, LabelUnit)
            labels.append(np.concatenate([p, 1 - p], axis=1) @ unit.labels.detach().double().numpy())
    return raw


@pytest.mark.parametrize(
    ("tasks", "core", "chain"),
    [
        ((CLICK, LIKE, WATCH), None, [0, 1, 2]),
        ((CLICK, LIKE), None, [0, 1]),
        ((WATCH, CLICK, LIKE), "watch", [1, 2, 0]),
        ((WATCH, CLICK, LIKE), "like", [0, 1, 2]),  # no label comes from a continuous task
        ((CLICK, WATCH, LIKE), "click", [1, 2, 0]),
    ],
)
def test_scores_are_the_papers(tasks: tuple[Task, ...], core: str | None, chain: list[int]) -> None:
    model = build(*tasks, core=core)
    vectors = torch.randn(6, len(model.field_names), 3)
    binary = {k for k, task in enumerate(tasks) if task.kind == "binary"}
    wanted = expected(model, vectors.flatten(1).double().numpy(), chain, binary)
    found = raw_of(model, vectors).detach().numpy()
    np.testing.assert_allclose(found, np.concatenate([wanted[k] for k in range(len(tasks))], axis=1), atol=1e-6)


def test_a_label_is_drawn_in_training_and_expected_in_evaluation() -> None:
    unit = LabelUnit(width=2, temperature=0.01, std=1.0)
    p = torch.full((4000,), 0.3)
    torch.testing.assert_close(unit.eval()(p.logit())[0], 0.3 * unit.labels[0] + 0.7 * unit.labels[1])
    torch.manual_seed(0)
    drawn = unit.train()(p.logit())
    yes = (drawn - unit.labels[0]).norm(dim=1) < 0.01 * (unit.labels[0] - unit.labels[1]).norm()
    no = (drawn - unit.labels[1]).norm(dim=1) < 0.01 * (unit.labels[0] - unit.labels[1]).norm()
    assert (yes | no).float().mean() > 0.95  # cold: one row or the other
    assert yes.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_p_handed_on_is_that_without_the_weight_of_positives() -> None:
    plain, weighted = build(CLICK, WATCH), build(CLICK, WATCH, positive_weight={"click": 3.0})
    vectors = torch.randn(4, len(plain.field_names), 3)
    with torch.no_grad():
        dict(weighted.named_parameters())["towers.0.head.bias"].add_(math.log(3.0))  # what it would have learnt
    torch.testing.assert_close(raw_of(weighted, vectors)[:, 1], raw_of(plain, vectors)[:, 1])


def test_no_gradient_flows_from_a_task_to_the_towers_before_it() -> None:
    model = build(CLICK, LIKE, WATCH)
    raw_of(model, torch.randn(8, len(model.field_names), 3))[:, 2].sum().backward()  # type: ignore[no-untyped-call]
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert not [
        name for name in moved if name.startswith(("towers.0", "towers.1", "firsts.0", "firsts.1", "receivers.0"))
    ]
    assert {"label_units.0.labels", "label_units.1.labels", "firsts.2.weight", "receivers.1.first.weight"} <= moved


def by_hand(core: Floats, others: list[Floats], alpha: float, gamma: float, ratio: float) -> Floats:
    """Algorithm 1, one task at a time."""
    total = core.copy()
    for g in others:
        if g @ core < 0:
            g = g - alpha * (g @ core) / (core @ core) * core
        r = np.clip(np.sqrt(core @ core) / np.sqrt(g @ g), 1 / ratio, ratio)
        total += gamma * r * g + (1 - gamma) * g
    return total


def test_adjusting_is_equations_16_and_17() -> None:
    core = np.array([1.0, 0.0])
    others = [np.array([-1.0, 1.0]), np.array([0.001, 0.0]), np.array([0.0, 500.0])]
    # full surgery drops the -1; then r = 1, 10 (clipped) and 0.1 (clipped), gamma = .5
    wanted = core + np.array([0.0, 1.0]) + np.array([0.0055, 0.0]) + np.array([0.0, 275.0])
    np.testing.assert_allclose(by_hand(core, others, 1.0, 0.5, 10.0), wanted)
    tensors = torch.tensor(core), torch.tensor(np.stack(others))
    np.testing.assert_allclose(adjust(*tensors, 1.0, 0.5, 10.0).numpy(), wanted)
    np.testing.assert_allclose(adjust(*tensors, 0.3, 0.2, 4.0).numpy(), by_hand(core, others, 0.3, 0.2, 4.0))


@pytest.mark.parametrize("zero", ["core", "others"])
def test_adjusting_survives_a_gradient_of_zero(zero: str) -> None:
    core = torch.zeros(3) if zero == "core" else torch.ones(3)
    others = torch.zeros(1, 3) if zero == "others" else torch.ones(1, 3)
    assert torch.isfinite(adjust(core, others, 1.0, 0.1, 10.0)).all()


def gradients(model: HTLNet, weights: Tensor, surgery: bool) -> dict[str, Tensor]:
    """Gradients of a weighted sum of losses on fixed rows, by parameter."""
    schema = tiny.schema(tasks=model.schema_tasks)
    labels = torch.tensor(np.random.default_rng(1).integers(0, 2, (32, 3)), dtype=torch.float32)
    raw = model.raw(*tiny.inputs(schema, items=32, requests=32)[:4])
    sums, counts = model.losses(raw, labels, torch.ones(32, 3))
    model.zero_grad()
    (model.backward if surgery else super(HTLNet, model).backward)(weights * sums / counts)
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def test_backward_adjusts_the_embeddings_and_nothing_else() -> None:
    model = build(CLICK, LIKE, WATCH, alpha=0.9, gamma=0.3, ratio=3.0)
    weights = torch.tensor([1.0, 5.0, 0.5])
    each = [gradients(model, weights * torch.eye(3)[k], surgery=False) for k in range(3)]
    plain, found = gradients(model, weights, surgery=False), gradients(model, weights, surgery=True)
    shared = [name for name in found if name.startswith(("request.", "item."))]
    vectors = [np.concatenate([of_task[name].flatten().double().numpy() for name in shared]) for of_task in each]
    wanted = by_hand(vectors[2], vectors[:2], 0.9, 0.3, 3.0)
    assert vectors[0] @ vectors[2] < 0 or vectors[1] @ vectors[2] < 0  # there is a conflict to mend
    np.testing.assert_allclose(np.concatenate([found[name].flatten().numpy() for name in shared]), wanted, atol=1e-6)
    for name in found.keys() - shared:
        torch.testing.assert_close(found[name], plain[name])


def test_sparse_gradients_of_tables_stay_sparse() -> None:
    model, weights = build(CLICK, LIKE, WATCH, alpha=0.9, gamma=0.3), torch.ones(3)
    dense = gradients(model, weights, surgery=True)
    tables = {f"{name}.weight": table for name, table in model.named_modules() if isinstance(table, nn.Embedding)}
    for table in tables.values():
        table.sparse = True
    sparse = gradients(model, weights, surgery=True)
    assert {name for name, gradient in sparse.items() if gradient.is_sparse} == tables.keys()
    for name, gradient in sparse.items():
        torch.testing.assert_close(gradient.to_dense(), dense[name])


def test_a_side_without_fields_has_no_gradient_to_adjust() -> None:
    schema = tiny.schema([field for field in tiny.FIELDS if field.side is Side.USER], [CLICK, WATCH])
    model = build_model("htlnet", schema, HTLNetSettings()).eval()
    model.backward(model.raw(*tiny.inputs(schema, items=8, requests=8)[:4]).mean(0))
    assert any(p.grad is not None for p in model.request.parameters())
    assert all(p.grad is None for p in model.item.parameters() if p.numel() == 0)


def test_one_task_needs_no_surgery() -> None:
    model = build(WATCH)
    model.backward(model.raw(*tiny.inputs(tiny.schema(), items=8, requests=8)[:4]).mean(0))
    assert all(p.grad is not None for p in model.parameters())


def test_a_hybrid_of_three_tasks_overfits_64_rows() -> None:
    model: Ranker = build(CLICK, LIKE, WATCH, embedding=16, tower=(64, 32)).train()
    inputs = tiny.inputs(tiny.schema(), items=64, requests=64)[:4]
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (64, 3), generator=draw).float()
    labels[:, 2] = 50 + 20 * torch.randn(64, generator=draw)
    counted = torch.ones(64, 3)
    model.measure(inputs[1], inputs[3], labels, counted)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        optimiser.zero_grad()
        sums, counts = model.losses(model.raw(*inputs), labels, counted)
        model.backward(sums / counts)
        optimiser.step()
    sums, _ = model.eval().losses(model.raw(*inputs), labels, counted)
    assert (sums / 64 < 0.05).all()


def test_a_core_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.core: 'buy' is not one of the tasks click, watch"):
        build(CLICK, WATCH, core="buy")
