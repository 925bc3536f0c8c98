"""Ranker → three graphs that are together the same function: request half, item half, candidates where they meet.

W[u; i] = W_u u + W_i i: the request's part of every first layer, and whatever else needs the request alone, is computed
once a request; the item's part once an item and model, as long as somebody keeps it.
"""

import onnx

from contract.schema import Schema
from export.draws import draw_split_inputs
from export.graph import simplify, trace
from export.partition import partition
from training.models.ranker import Ranker
from training.models.split import SplitRanker

ROWS = {
    "request_ids": "R", "request_dense": "R", "item_ids": "M", "item_dense": "M",
    "cross_ids": "N", "cross_dense": "N", "request_of_item": "N", "item_rows": "N",
}  # fmt: skip


def split_graphs(model: Ranker, schema: Schema) -> dict[str, onnx.ModelProto]:
    """`request`, `item` and `candidate`, as contract/bundle.py describes them; a side without fields is left out."""
    example = draw_split_inputs(schema, requests=3, items=5, candidates=7, seed=0)
    outputs = [task.name for task in schema.tasks]
    whole = trace(SplitRanker(model, schema).eval(), example, ROWS, outputs)
    return {name: simplify(graph) for name, graph in partition(simplify(whole)).items()}
