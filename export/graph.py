"""PyTorch module → ONNX graph, simplified: constants folded, nothing left that asks for shapes or leads nowhere."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from contract.bundle import Arrays

OPSET = 20
LARGEST = 2**20  # rows; the tracer wants a bound
LARGE = 2**13  # weights: below, a product in a smaller type saves less than the casts around it cost


def trace(module: torch.nn.Module, example: Arrays, rows: Mapping[str, str], outputs: list[str]) -> onnx.ModelProto:
    """The graph of `module(*example.values())`; `rows` names the free first dimension of each input.

    No dimension of the example may be 0 or 1, since the tracer takes those for constants.
    """
    free = {name: torch.export.Dim(name, max=LARGEST) for name in dict.fromkeys(rows.values())}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on how it names axes; parity is the check
        program = torch.onnx.export(
            module,
            tuple(torch.from_numpy(array) for array in example.values()),
            input_names=list(example),
            output_names=outputs,
            dynamic_shapes=tuple({0: free[rows[name]]} for name in example),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None only for dynamo=False
    return _without_traces(program.model_proto)


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function after ONNX Runtime's basic optimisations, which hold for every provider."""
    with tempfile.TemporaryDirectory() as scratch:
        before, after = Path(scratch) / "before.onnx", Path(scratch) / "after.onnx"
        onnx.save(model, before)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(after)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(before, options, providers=["CPUExecutionProvider"])
        return _without_traces(onnx.load(after))


def macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of the matrix products, for one row of every free dimension."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    typed = {v.name: v.type.tensor_type.shape.dim for v in (*graph.input, *graph.value_info, *graph.output)}
    shapes = {name: [size.dim_value for size in sizes] for name, sizes in typed.items()}  # 0: free
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            inner = shapes[node.input[0]][0 if transposed else -1]
            total += inner * int(np.prod([size for size in shapes[node.output[0]] if size]))
    return total


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's stack traces: a third of a small file, and paths of the machine that exported."""
    graph = model.graph
    graph.ClearField("value_info")
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, graph, model):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def large_products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Matrix products by a constant of at least LARGE weights: experts, banks and towers, but no gate's scores."""
    weights = {tensor.name: tensor.dims for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type in ("Gemm", "MatMul")]
    return [node for node in products if len(d := weights.get(node.input[1], ())) == 2 and int(np.prod(d)) >= LARGE]
