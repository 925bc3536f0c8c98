"""DTN's wiring, in both forms, against gates and groups written out in numpy."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from contract.errors import ConfigError
from contract.schema import Task
from tests.training import tiny
from training.models import build_model
from training.models.bank import Bank
from training.models.dtn import DTN, DTNSettings
from training.models.experts import Gate, OutputGate
from training.models.features import GatheredFeatures
from training.models.memonet import MemoNet
from training.models.parts import Parts, whole

Floats = NDArray[np.float32]
CHAIN = tuple(Task(name=name, label=f"label {name}") for name in ("view", "cart", "buy"))
SMALL = {"embedding": 4, "width": 5, "tower": (3,), "repeats": 2}


def build(tasks: int, **settings: object) -> DTN:
    """A small DTN with this many tasks."""
    chosen = DTNSettings.model_validate({**SMALL, **settings})
    model = build_model("dtn", tiny.schema(tasks=CHAIN[:tasks]), chosen)
    assert isinstance(model, DTN)
    return model.eval()


def numbers(tensor: Tensor) -> Floats:
    """A tensor as numpy."""
    result: Floats = tensor.detach().numpy()
    return result


def gated(gate: nn.Module, x: Floats, group: list[Floats]) -> Floats:
    """o = sum_m g_m F_m over the outputs of a group, each bank [N, modules, width]."""
    outputs = np.concatenate(group, axis=1)
    if isinstance(gate, Gate):
        scores = x @ numbers(gate.scores.weight).T + numbers(gate.scores.bias)
    else:
        assert isinstance(gate, OutputGate)
        scores = np.maximum(np.einsum("nmw,mw->nm", outputs, numbers(gate.weight)) + numbers(gate.bias), 0)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    result: Floats = np.einsum("nm,nmw->nw", shares, outputs)
    return result


def expected_logits(model: DTN, vectors: Tensor, ids: Tensor, upstream: list[set[int]]) -> Floats:
    """The figure, task by task: GN of the own bank, TSN of the others and the shared one, tower."""
    assert model.codes is not None
    x = numbers(vectors).reshape(len(vectors), -1)
    words = iter(model.codes(whole(ids)))
    banks = [numbers(alone(bank, vectors, words)) for bank in model.each_bank]
    logits: list[Floats] = []
    for k, tower in enumerate(model.towers):
        group = []
        for u in range(len(model.towers)):
            prediction = 1 / (1 + np.exp(-logits[u])) if u in upstream[k] else np.ones(len(x), np.float32)
            if u != k:
                group.append((prediction[:, None, None] * banks[u]).astype(np.float32))
        own, other = gated(model.own_gates[k], x, [banks[k]]), gated(model.other_gates[k], x, [*group, banks[-1]])
        fused = own + other if model.fuse == "sum" else np.hstack([own, other])
        logits.append(numbers(tower(torch.from_numpy(fused)))[:, 0])
    return np.stack(logits, axis=1)


def alone(bank: Bank, vectors: Tensor, words: Iterator[Parts]) -> Tensor:
    """Outputs of a bank by itself [N, modules, width], each module computing its own first products."""
    x = whole(vectors)
    outputs = [m(x, next(words)) if isinstance(m, MemoNet) else m(x) for m in bank.each_member]
    return torch.stack(outputs, dim=1)


def sample(model: DTN) -> tuple[Tensor, Tensor]:
    """Vectors of 6 rows and ids."""
    torch.manual_seed(1)
    return torch.randn(6, len(model.field_names), 4), torch.randint(0, 4, (6, len(model.categorical)))


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_wiring(preset: str, tasks: int) -> None:
    model = build(tasks, preset=preset)
    vectors, ids = sample(model)
    expected = expected_logits(model, vectors, ids, [set(), {0}, {0, 1}])
    np.testing.assert_allclose(numbers(model.score(GatheredFeatures(vectors, ids))), expected, atol=1e-5)


def test_a_task_sees_as_upstream_the_tasks_it_names() -> None:
    model = build(3, upstream={"buy": ["view"], "cart": []})
    vectors, ids = sample(model)
    expected = expected_logits(model, vectors, ids, [set(), set(), {0}])
    np.testing.assert_allclose(numbers(model.score(GatheredFeatures(vectors, ids))), expected, atol=1e-5)


@pytest.mark.parametrize("stopped", [True, False])
def test_stop_gradient_keeps_a_task_out_of_its_upstream_tower(stopped: bool) -> None:
    model = build(2, tsn_stop_gradient=stopped)
    model.score(GatheredFeatures(*sample(model)))[:, 1].sum().backward()  # type: ignore[no-untyped-call]
    moved = [bool(p.grad.any()) for p in model.towers[0].parameters() if p.grad is not None]
    assert any(moved) != stopped


def test_presets_set_all_three_switches_and_a_given_one_stands() -> None:
    released = DTNSettings.model_validate({"preset": "released", "fuse": "concat"})
    assert (released.gate_input, released.fuse, released.tsn_stop_gradient) == ("output", "concat", True)
    paper = DTNSettings()
    assert (paper.gate_input, paper.fuse, paper.tsn_stop_gradient) == ("x", "concat", False)


def test_a_bank_has_every_module_as_often_as_asked() -> None:
    model = build(2, modules=["mlp", "masknet"], repeats=3)
    assert len(model.banks) == 3
    assert alone(model.each_bank[0], torch.randn(2, len(model.field_names), 4), iter([])).shape == (2, 6, 5)
    assert model.codes is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"upstream": {"view": ["buy"]}}, "'buy' must stand before it"),
        ({"upstream": {"buy": ["play"]}}, "'play' is not one of the binary tasks view, cart, buy"),
        ({"memonet": {"fields": ["age", "user"]}}, "'age' is not one of user, hour, item, shelf"),
        ({"memonet": {"fields": 1}}, "leave it out"),
    ],
)
def test_settings_that_do_not_fit_the_schema(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(3, **settings)


def test_memonet_takes_the_fields_with_the_most_ids() -> None:
    model = build(1, memonet={"fields": 2})
    assert model.codes is not None
    assert [model.categorical[i] for i in model.codes.hash.columns] == ["user", "item"]


def test_without_tsn_nothing_passes_down() -> None:
    model = build(2, tsn=False)
    vectors, ids = sample(model)
    expected = expected_logits(model, vectors, ids, [set(), set()])
    np.testing.assert_allclose(numbers(model.score(GatheredFeatures(vectors, ids))), expected, atol=1e-5)


def test_without_the_shared_bank_a_task_gates_the_others_alone() -> None:
    model = build(2, shared_bank=False)
    assert len(model.banks) == 2
    assert model.score(GatheredFeatures(*sample(model))).shape == (6, 2)
    with pytest.raises(ConfigError, match="two tasks or more"):
        build(1, shared_bank=False)


def test_a_continuous_task_is_upstream_of_none() -> None:
    tasks = (Task(name="view", label="v"), Task(name="time", label="t", kind="continuous"), Task(name="buy", label="b"))
    assert DTN(tiny.schema(tasks=tasks), DTNSettings()).upstream == [set(), {0}, {0}]
    with pytest.raises(ConfigError, match="'time' is not one of the binary tasks view, buy"):
        DTN(tiny.schema(tasks=tasks), DTNSettings(upstream={"buy": ("time",)}))


def test_a_code_book_whose_addresses_float32_cannot_hold_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 16777216"):
        build(1, memonet={"code_book": (1 << 24) + 1})
