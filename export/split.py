"""Ranker → three graphs that are together the same function: request half, item half, candidates where they meet.

W[u; i] = W_u u + W_i i: the request's part of every first layer, and whatever else needs the request alone, is computed
once a request; the item's part once an item and model, as long as somebody keeps it.
"""

import onnx
import torch
from torch import nn

from contract.bundle import Arrays
from contract.rows import Layout
from contract.schema import Schema
from export.draws import draw_split_inputs
from export.graph import simplify, trace
from export.partition import partition
from training.models.ranker import Ranker
from training.models.split import PlainRanker, SplitRanker

ROWS = {
    "request_ids": "R", "request_dense": "R", "item_ids": "M", "item_dense": "M",
    "cross_ids": "N", "cross_dense": "N", "request_of_item": "N", "item_rows": "N",
}  # fmt: skip


def split_graphs(model: Ranker, schema: Schema, cross: Layout) -> dict[str, onnx.ModelProto]:
    """`request`, `item` and `candidate`, as contract/bundle.py describes them; a side without fields is left out.

    Where there are cross fields, also `request_plain` and `candidate_plain`, in which those are `cross`'s defaults; not
    where one of them is computed from user and item, and so is hardly ever that.
    """
    split = SplitRanker(model, schema).eval()
    example = draw_split_inputs(schema, requests=3, items=5, candidates=7, seed=0)
    graphs = _parts(split, example, schema)
    if cross.fields and schema.request_fields and not any(field.cross for field in cross.fields):
        defaults = torch.from_numpy(cross.default_ids), torch.from_numpy(cross.default_dense)
        plain = {name: array for name, array in example.items() if not name.startswith("cross_")}
        found = _parts(PlainRanker(split, *defaults).eval(), plain, schema)
        graphs |= {f"{name}_plain": found[name] for name in ("request", "candidate")}
    return graphs


def _parts(module: nn.Module, example: Arrays, schema: Schema) -> dict[str, onnx.ModelProto]:
    whole = trace(module, example, ROWS, [task.name for task in schema.tasks])
    return {name: simplify(graph) for name, graph in partition(simplify(whole)).items()}
