"""Factored products against the plain ones: same outputs, same gradients, for every kind of field."""

import pytest
import torch
from torch import Tensor

from contract.schema import Field, Kind, Side
from tests.training import tiny
from training.models import MODELS, Ranker, build_model

MANY = 300  # rows: with 4 for each id, all of the tiny fields are factored, and numbers too
WIDE = (*tiny.FIELDS, Field(name="sku", side=Side.ITEM, size=5000))  # never factored


def build(name: str, fields: tuple[Field, ...]) -> Ranker:
    """A model in training."""
    torch.manual_seed(2)  # with no relu that is 0 but for rounding: its gradient may fall on either side
    settings = {"memonet": {"code_book": 100}} if name == "dtn" else {}
    return build_model(name, tiny.schema(fields), MODELS[name].settings.model_validate(settings)).train()


def step(
    model: Ranker, inputs: tuple[Tensor, Tensor, Tensor, Tensor], request_of_item: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Raw outputs and gradients of the losses: of clicks in every other row, of conversions in every fourth."""
    model.zero_grad()
    torch.manual_seed(1)  # for what a model draws while it trains
    raw = model.raw(*inputs, request_of_item)
    place = torch.arange(len(raw)) % 4
    labels = torch.stack([place > 1, place == 3], dim=1).float()
    sums, _ = model.losses(raw, labels, torch.stack([torch.ones(len(raw)), labels[:, 0]], dim=1))
    model.backward(sums)
    return raw.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None and p.numel()}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [10, MANY])
@pytest.mark.parametrize("sides", [tuple(Side), (Side.USER,), (Side.ITEM,)])
def test_bagged_features_are_the_gathered_ones(name: str, rows: int, sides: tuple[Side, ...]) -> None:
    fields = tuple(field for field in WIDE if field.side in sides)
    model = build(name, fields) if len([f for f in fields if f.kind is Kind.CATEGORICAL]) > 1 else build("ple", fields)
    inputs = tiny.inputs(tiny.schema(fields), rows, rows)[:4]
    inputs[0][0] = 0  # an empty list
    inputs[2][1:3] = 9999  # beyond every table
    bagged, its_gradients = step(model, inputs, None)
    gathered, gradients = step(model, inputs, torch.arange(rows))
    torch.testing.assert_close(bagged, gathered, rtol=1e-4, atol=1e-5)
    assert its_gradients.keys() >= gradients.keys()
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(its_gradients[parameter], gradient, rtol=1e-3, atol=1e-4, msg=parameter)


def test_small_fields_and_numbers_are_factored_and_wide_ones_are_not() -> None:
    model = build("ple", WIDE)
    assert [model.item.names[block.field] for block in model.item.blocks(100)] == ["item", "shelf", "price"]
    assert model.item.blocks(3) == []
