"""One ONNX graph → three: what depends on the request alone, on the item alone, and the rest, where the two meet.

Rows of requests and items reach candidates through `Gather` by `request_of_item` and `item_rows`. What those read is
the cut: flattened, side by side, it is the one output of a side's graph, `request_columns` or `item_columns`, and an
input of the candidates' graph, which gathers it in one go. Its one type is float32, which holds integers below 2**24
exactly; the settings of models keep theirs within that.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from contract.errors import BundleError

_SAME = ("Cast", "Identity", "Reshape")  # what an exporter may put between an index and its Gather


@dataclass(frozen=True)
class Side:
    """A side of the cut: its inputs, the rows that candidates name, and what it is called."""

    name: str
    inputs: tuple[str, ...]
    row_of: str

    @property
    def columns(self) -> str:
        """Its output."""
        return f"{self.name}_columns"


REQUEST = Side("request", ("request_ids", "request_dense"), "request_of_item")
ITEM = Side("item", ("item_ids", "item_dense"), "item_rows")
SIDES = (REQUEST, ITEM)


@dataclass(frozen=True)
class Cut:
    """One tensor of a side, read by candidates: its type and shape after the rows; `readers` gather it."""

    tensor: str
    kind: int
    shape: tuple[int, ...]
    readers: tuple[str, ...]  # outputs of the Gathers

    @property
    def width(self) -> int:
        """Columns that it takes."""
        return int(np.prod(self.shape))


class Partition:
    """Sorts the nodes of a graph by what they depend on."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, graph = onnx.shape_inference.infer_shapes(model), model.graph
        self._types = {v.name: v.type.tensor_type for v in (*self.model.graph.value_info, *graph.input, *graph.output)}
        self._depends: dict[str, frozenset[str]] = {}
        self._same = {node.output[0]: node.input[0] for node in graph.node if node.op_type in _SAME}
        for value in graph.input:
            side = next((side.name for side in SIDES if value.name in side.inputs), "candidate")
            self._depends[value.name] = frozenset([side])
        for node in graph.node:  # in topological order
            of_node = frozenset[str]().union(*(self._depends.get(name, frozenset()) for name in node.input))
            self._depends.update(dict.fromkeys(node.output, of_node))

    def graphs(self) -> dict[str, onnx.ModelProto]:
        """By name; a side that no candidate reads is left out."""
        cuts = {side: list(self._cuts(side)) for side in SIDES}
        found = {side.name: self._side(side, of_side) for side, of_side in cuts.items() if of_side}
        return {**found, "candidate": self._candidate({side: of_side for side, of_side in cuts.items() if of_side})}

    def _cuts(self, side: Side) -> Iterator[Cut]:
        """Tensors of this side that nodes of candidates read, in the order of the graph."""
        readers: dict[str, list[str]] = {}
        for node in self.model.graph.node:
            for name in node.input:
                if self._of(name) == side.name and self._of(node.output[0]) != side.name:
                    if node.op_type != "Gather" or self._source(node.input[1]) != side.row_of or _axis(node) != 0:
                        raise BundleError(f"cannot split the graph: {node.op_type} reads {side.name} rows ungathered")
                    readers.setdefault(name, []).append(node.output[0])
        for name, outputs in readers.items():
            yield Cut(name, self._types[name].elem_type, self._shape(name), tuple(outputs))

    def _of(self, name: str) -> str:
        """What a tensor depends on: a side, `candidate`, or nothing."""
        depends = self._depends.get(name, frozenset())
        return "candidate" if len(depends) > 1 else next(iter(depends), "")

    def _source(self, name: str) -> str:
        """The tensor that this one is, but for its type."""
        while name in self._same:
            name = self._same[name]
        return name

    def _shape(self, name: str) -> tuple[int, ...]:
        sizes = self._types[name].shape.dim[1:]
        if any(not size.HasField("dim_value") for size in sizes):
            raise BundleError(f"cannot split the graph: the shape of {name} is not known")
        return tuple(size.dim_value for size in sizes)

    def _side(self, side: Side, cuts: list[Cut]) -> onnx.ModelProto:
        nodes = [node for node in self.model.graph.node if self._of(node.output[0]) in (side.name, "")]
        flat = [f"flat:{cut.tensor}" for cut in cuts]
        for cut, name in zip(cuts, flat, strict=True):
            nodes.append(helper.make_node("Reshape", [cut.tensor, "rows"], [f"{name}:typed"]))
            nodes.append(helper.make_node("Cast", [f"{name}:typed"], [name], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Concat", flat, [side.columns], axis=1))
        output = helper.make_tensor_value_info(side.columns, TensorProto.FLOAT, [side.name, sum(c.width for c in cuts)])
        wide = numpy_helper.from_array(np.array([0, -1]), "rows")
        return self._built(side.name, nodes, [], [output], [wide])

    def _candidate(self, cuts: Mapping[Side, list[Cut]]) -> onnx.ModelProto:
        gathers = {name for of_side in cuts.values() for cut in of_side for name in cut.readers}
        nodes, inputs, constants = list[NodeProto](), [], []
        for side, of_side in cuts.items():
            width = sum(cut.width for cut in of_side)
            inputs.append(helper.make_tensor_value_info(side.columns, TensorProto.FLOAT, [side.name, width]))
            gathered, widths = f"{side.columns}:gathered", f"{side.name}:widths"
            nodes.append(helper.make_node("Gather", [side.columns, side.row_of], [gathered], axis=0))
            constants.append(numpy_helper.from_array(np.array([cut.width for cut in of_side]), widths))
            pieces = [gathered] if len(of_side) == 1 else [f"cut:{cut.tensor}" for cut in of_side]
            if len(of_side) > 1:  # a Split into one would be a copy
                nodes.append(helper.make_node("Split", [gathered, widths], pieces, axis=1))
            for cut, piece in zip(of_side, pieces, strict=True):
                constants.append(numpy_helper.from_array(np.array([-1, *cut.shape]), f"{piece}:shape"))
                for reader in cut.readers:
                    nodes.append(helper.make_node("Reshape", [piece, f"{piece}:shape"], [f"{reader}:float"]))
                    nodes.append(helper.make_node("Cast", [f"{reader}:float"], [reader], to=cut.kind))
        sides = {side.name for side in SIDES}
        nodes += [
            node
            for node in self.model.graph.node
            if node.output[0] not in gathers and self._of(node.output[0]) not in sides
        ]
        return self._built("candidate", nodes, inputs, list(self.model.graph.output), constants)

    def _built(
        self,
        name: str,
        nodes: list[NodeProto],
        inputs: list[onnx.ValueInfoProto],
        outputs: list[onnx.ValueInfoProto],
        constants: list[TensorProto],
    ) -> onnx.ModelProto:
        """A model of these nodes, without those that lead nowhere, and with the inputs and constants they read."""
        kept = list(_needed(nodes, {output.name for output in outputs}))
        read = {name for node in kept for name in node.input}
        graph = self.model.graph
        given = [value for value in (*graph.input, *inputs) if value.name in read]
        constants = [tensor for tensor in (*graph.initializer, *constants) if tensor.name in read]
        built = helper.make_graph(kept, name, given, outputs, constants)
        return helper.make_model(built, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)


def partition(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """`request`, `item` and `candidate`: together the same function; BundleError where rows meet but by a gather."""
    return Partition(model).graphs()


def _needed(nodes: list[NodeProto], wanted: Iterable[str]) -> list[NodeProto]:
    needed, kept = set(wanted), list[NodeProto]()
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
