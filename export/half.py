"""A graph in fp16: large matrix products, and what runs between them; all else, inputs and outputs too, in fp32.

Tools that convert whole graphs cast every input to fp16 before a node reads it. Columns of a cut hold ids and code
words, exact integers up to 2**24, and fp16 is exact to 2**11: here nothing but what comes out of a product is fp16.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from contract.errors import BundleError
from export.graph import large_products

# what keeps to fp16 where everything that it reads comes out of a product; sums, means and softmax never do
BETWEEN = {"Relu", "Add", "Mul", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat", "Transpose", "Flatten"}
SUFFIX: dict[int, str] = {TensorProto.FLOAT16: ":fp16", TensorProto.FLOAT: ":fp32"}


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with large products in fp16; BundleError where a weight is beyond what fp16 holds."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    half = _half_nodes(graph, constants)
    halves = {name for node in half.values() for name in node.output}
    nodes, made, weights = list[NodeProto](), set[str](), dict[str, TensorProto]()

    def cast(name: str, kind: int) -> str:
        """This tensor in the other type, cast once."""
        other = name + SUFFIX[kind]
        if other not in made:
            made.add(other)
            nodes.append(helper.make_node("Cast", [name], [other], to=kind))
        return other

    for original in graph.node:
        node = NodeProto()
        node.CopyFrom(original)
        for place, name in enumerate(original.input):
            if original.output[0] not in half:
                node.input[place] = cast(name, TensorProto.FLOAT) if name in halves else name
            elif name in constants:
                weights[name] = constants[name]
                node.input[place] = name + _suffix(constants[name])
            elif name not in halves:
                node.input[place] = cast(name, TensorProto.FLOAT16)
        nodes.append(node)
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    kept += [_half(tensor) for tensor in weights.values() if tensor.data_type == TensorProto.FLOAT]
    built = helper.make_graph(nodes, graph.name, graph.input, graph.output, kept)
    return helper.make_model(built, opset_imports=model.opset_import, ir_version=model.ir_version)


def _half_nodes(graph: onnx.GraphProto, constants: Iterable[str]) -> dict[str, NodeProto]:
    """Nodes that run in fp16, by their first output: large products, and what reads those alone."""
    outputs, constant = {value.name for value in graph.output}, {"", *constants}
    products = {node.output[0] for node in large_products(graph)}
    found, halves = dict[str, NodeProto](), set[str]()
    for node in graph.node:  # in topological order
        read = set(node.input) - constant
        between = node.op_type in BETWEEN and bool(read) and read <= halves
        if (node.output[0] in products or between) and not outputs.intersection(node.output):
            found[node.output[0]] = node
            halves.update(node.output)
    return found


def _suffix(tensor: TensorProto) -> str:
    return SUFFIX[TensorProto.FLOAT16] if tensor.data_type == TensorProto.FLOAT else ""


def _half(tensor: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    if not (np.abs(values) <= np.finfo(np.float16).max).all():
        raise BundleError(f"fp16: {tensor.name} holds {np.abs(values).max():.3g}, beyond 65504; export it in fp32")
    return numpy_helper.from_array(values.astype(np.float16), tensor.name + _suffix(tensor))
