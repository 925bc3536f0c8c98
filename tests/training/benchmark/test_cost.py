"""Parameters and multiply-accumulates against sums by hand."""

import torch
from torch import nn

from tests.training import tiny
from tests.training.benchmark.test_targets import split
from training.benchmark.cost import machine, multiply_accumulates, parameters, stepping, table_parameters
from training.config import read_recipe
from training.models import build_model


def test_of_ple_each_weight_but_those_looked_up_meets_a_row_once() -> None:
    schema = tiny.schema([field for field in tiny.FIELDS if field.slots])
    model = build_model("ple", schema, read_recipe("ple", assignments=["model.embedding=4"]).model)
    _, batch = split(schema, rows=30)
    weights = [m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)]
    inputs, width, experts = 4 * len(schema.fields), 128, 6
    unseen = (2 * 2) * (inputs + width)  # a task's gate scores the other task's two experts as well, on both levels
    mixing = (3 + 2) * experts * width  # gates of the levels, over all experts
    assert multiply_accumulates(model, batch) == sum(weights) + unseen + mixing
    tables = sum(field.size for field in schema.fields) * 4
    assert table_parameters(model) == tables
    assert parameters(model) == sum(p.numel() for p in model.parameters()) > tables


def test_a_step_of_several_optimisers_ticks_once() -> None:
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimisers = [torch.optim.SGD([weight], lr=0.1) for weight in weights]
    ticks: list[None] = []
    with stepping(lambda: ticks.append(None)):
        for _ in range(3):
            for weight, optimiser in zip(weights, optimisers, strict=True):
                weight.grad = torch.ones(1)
                optimiser.step()
    optimisers[0].step()  # outside
    assert len(ticks) == 3


def test_the_machine_has_words() -> None:
    assert "thread" in machine(torch.device("cpu"))
