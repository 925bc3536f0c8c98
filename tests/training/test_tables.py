"""A table a field: the same rows, vectors and gradients as one table for all."""

import torch

from tests.training import tiny
from training.models import build_model
from training.models.ple import PLESettings
from training.models.tables import FieldTables


def test_a_table_a_field_is_the_one_table_cut() -> None:
    schema = tiny.schema()
    torch.manual_seed(0)
    one, cut = (build_model("ple", schema, PLESettings(tables=kind)) for kind in ("one", "field"))
    weights = one.state_dict()
    for side in ("request", "item"):
        tables = getattr(cut, side).table
        assert isinstance(tables, FieldTables)
        parts = torch.split(weights.pop(f"{side}.table.weight"), [table.num_embeddings for table in tables.tables])
        weights |= {f"{side}.table.each.{name}.weight": part for name, part in zip(tables.each, parts, strict=True)}
    cut.load_state_dict(weights)
    inputs = tiny.inputs(schema, items=50, requests=50)
    for of_item in (None, inputs[4]):  # factored products, and the graph's form
        outputs = [model.train().raw(*inputs[:4], of_item) for model in (one, cut)]
        torch.testing.assert_close(outputs[0], outputs[1])
        for model, raw in zip((one, cut), outputs, strict=True):
            model.zero_grad()
            raw.square().sum().backward()  # type: ignore[no-untyped-call]
        whole = one.item.table.weight.grad
        assert whole is not None
        assert isinstance(cut.item.table, FieldTables)
        pieces = [table.weight.grad for table in cut.item.table.tables]
        torch.testing.assert_close(whole, torch.cat([piece for piece in pieces if piece is not None]))
