"""Tiny real bundles: a schema with every side and kind, and a graph in which every input moves every score."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from contract.bundle import INPUTS, Arrays, Manifest, new_bundle, write_golden
from contract.dictionary import Dictionary
from contract.encoding import encode_field
from contract.schema import Field, Schema, Side, Task, dense_columns, slot_columns
from export.partition import partition

TABLE = 64  # rows of the one embedding table; ids at or above map to 0
AMOUNT = 1000.0
Scores = dict[str, NDArray[np.float32]]

FIELDS = (
    Field(name="gender", side=Side.USER, size=3),
    Field(name="age", side=Side.USER, kind="numeric", default=0.3),
    Field(name="history", side=Side.USER, kind="multi", max_length=3, size=6),
    Field(name="scene", side=Side.CONTEXT, default="home", size=4),
    Field(name="hour", side=Side.CONTEXT, kind="numeric"),
    Field(name="category", side=Side.ITEM, size=6),
    Field(name="price", side=Side.ITEM, kind="numeric"),
    Field(name="brand", side=Side.ITEM, encoding="hash", buckets=50, size=51),
    Field(name="affinity", side=Side.CROSS, kind="numeric"),
)
TASKS = (Task(name="ctr", label="click"), Task(name="ctcvr", label="conversion"))
SCHEMA = Schema(user_key="user_id", item_key="item_id", fields=FIELDS, tasks=TASKS)
VALUES = {"gender": "fm", "history": "abcde", "scene": ("home", "search", "cart"), "category": "vwxyz"}


def dictionaries(schema: Schema = SCHEMA) -> dict[str, Dictionary]:
    """Dictionaries of the fields that need one."""
    needed = [field.name for field in schema.fields if field.slots and field.buckets is None]
    return {name: Dictionary.build(dict.fromkeys(VALUES[name], 1)) for name in needed}


class Graph:
    """A sum over embedded ids and weighted numbers, in ONNX and in numpy; a seed makes a model.

    A binary task is the sum's sigmoid, a continuous one AMOUNT times the sum.
    """

    def __init__(self, schema: Schema, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.schema = schema
        self.tables = {task.name: draw.normal(size=TABLE).astype(np.float32) for task in schema.tasks}
        self.weights: dict[tuple[str, str], NDArray[np.float32]] = {}
        for side, fields in (("request", schema.request_fields), ("item", schema.item_fields)):
            slots, numerics = sum(field.slots for field in fields), sum(field.numbers for field in fields)
            for task in schema.tasks:
                self.weights[task.name, f"{side}_ids"] = draw.normal(size=(slots, 1)).astype(np.float32)
                self.weights[task.name, f"{side}_dense"] = draw.normal(size=(numerics, 1)).astype(np.float32)

    def scores(self, inputs: Mapping[str, NDArray[Any]]) -> Scores:
        """What the graph must answer, in float64."""

        def part(task: str, side: str) -> NDArray[np.float64]:
            ids = inputs[f"{side}_ids"]
            embedded = self.tables[task].astype(np.float64)[np.where(ids < TABLE, ids, 0)]
            dense = inputs[f"{side}_dense"].astype(np.float64)
            total = embedded @ self.weights[task, f"{side}_ids"] + dense @ self.weights[task, f"{side}_dense"]
            return np.asarray(total[:, 0])

        def score(task: Task) -> NDArray[np.float32]:
            total = part(task.name, "request")[inputs["request_of_item"]] + part(task.name, "item")
            return np.asarray(AMOUNT * total if task.kind == "continuous" else 1 / (1 + np.exp(-total)), np.float32)

        return {task.name: score(task) for task in self.schema.tasks}

    def write(self, folder: Path) -> None:
        """Write the whole graph, and the three of the split."""
        onnx.save(self._model({"request": "request_of_item", "item": None}), folder / "model.onnx")
        split = self._model({"request": "request_of_item", "item": "item_rows", "cross": None})
        for name, graph in partition(split).items():
            onnx.save(graph, folder / f"{name}.onnx")

    def _model(self, row_of: Mapping[str, str | None]) -> onnx.ModelProto:
        """A graph that adds up these sides; `row_of` names what gathers a side's rows to candidates."""
        nodes: list[Any] = []
        constants: dict[str, NDArray[Any]] = {
            "zero": np.array(0, np.int32),
            "end": np.array(TABLE, np.int32),
            "one": np.array([1], np.int64),
            "amount": np.array(AMOUNT, np.float32),
        }
        for task, kind_of_task in ((task.name, task.kind) for task in self.schema.tasks):
            link, more = ("Mul", ["amount"]) if kind_of_task == "continuous" else ("Sigmoid", [])
            constants[f"{task}_table"] = self.tables[task]
            for side, rows in row_of.items():
                constants |= self._weights(task, side, whole="cross" not in row_of)
                nodes += self._side(task, side)
                link_of_side, read = ("Gather", [f"{task}_{side}", rows]) if rows else ("Identity", [f"{task}_{side}"])
                nodes.append(helper.make_node(link_of_side, read, [f"{task}_{side}_gathered"]))
            nodes += [
                helper.make_node("Sum", [f"{task}_{side}_gathered" for side in row_of], [f"{task}_logit"]),
                helper.make_node(link, [f"{task}_logit", *more], [f"{task}_column"]),
                helper.make_node("Squeeze", [f"{task}_column", "one"], [task]),
            ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            list(self._inputs(row_of)),
            [helper.make_tensor_value_info(task.name, TensorProto.FLOAT, ["n"]) for task in self.schema.tasks],
            [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(model)
        return model

    def _inputs(self, row_of: Mapping[str, str | None]) -> Iterator[onnx.ValueInfoProto]:
        counts = {"request": _widths(self.schema.request_fields), "cross": _widths(self.schema.on(Side.CROSS))}
        counts["item"] = _widths(self.schema.on(Side.ITEM) if "cross" in row_of else self.schema.item_fields)
        for side, rows in row_of.items():
            for kind, width in zip(("ids", "dense"), counts[side], strict=True):
                of_kind = TensorProto.INT32 if kind == "ids" else TensorProto.FLOAT
                yield helper.make_tensor_value_info(f"{side}_{kind}", of_kind, [side if rows else "n", width])
        for name in filter(None, row_of.values()):
            yield helper.make_tensor_value_info(name, TensorProto.INT32, ["n"])

    def _weights(self, task: str, side: str, whole: bool) -> dict[str, NDArray[Any]]:
        """Weights of a side; of the item without its cross fields, unless it is whole."""
        stored = dict(zip(("ids", "dense"), _widths(self.schema.on(Side.ITEM)), strict=True))
        found = {}
        for kind in ("ids", "dense"):
            weights = self.weights[task, f"{'request' if side == 'request' else 'item'}_{kind}"]
            first, last = (stored[kind], None) if side == "cross" else (0, stored[kind])
            found[f"{task}_{side}_{kind}_w"] = weights if whole or side == "request" else weights[first:last]
        return found

    def _side(self, task: str, side: str) -> list[Any]:
        prefix = f"{task}_{side}"
        return [
            helper.make_node("Less", [f"{side}_ids", "end"], [f"{prefix}_known"]),
            helper.make_node("Where", [f"{prefix}_known", f"{side}_ids", "zero"], [f"{prefix}_safe"]),
            helper.make_node("Gather", [f"{task}_table", f"{prefix}_safe"], [f"{prefix}_embedded"], axis=0),
            helper.make_node("MatMul", [f"{prefix}_embedded", f"{prefix}_ids_w"], [f"{prefix}_from_ids"]),
            helper.make_node("MatMul", [f"{side}_dense", f"{prefix}_dense_w"], [f"{prefix}_from_dense"]),
            helper.make_node("Add", [f"{prefix}_from_ids", f"{prefix}_from_dense"], [prefix]),
        ]


def _widths(fields: tuple[Field, ...]) -> tuple[int, int]:
    return sum(field.slots for field in fields), sum(field.numbers for field in fields)


def draw_inputs(schema: Schema, requests: int, candidates: int, seed: int = 0) -> Arrays:
    """Graph inputs with ids inside and outside the table."""
    draw = np.random.default_rng(seed)

    def side(fields: tuple[Field, ...], rows: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        ids = draw.integers(0, TABLE + 9, (rows, sum(field.slots for field in fields))).astype(np.int32)
        return ids, draw.normal(size=(rows, sum(field.numbers for field in fields))).astype(np.float32)

    owner = np.sort(draw.integers(0, requests, candidates)).astype(np.int32)
    arrays = (*side(schema.request_fields, requests), *side(schema.item_fields, candidates), owner)
    return dict(zip(INPUTS, arrays, strict=True))


def write_tiny_bundle(
    root: Path,
    model: str,
    seed: int,
    *,
    version: str = "v1",
    schema: Schema = SCHEMA,
    golden_shift: float = 0.0,
) -> Graph:
    """Write `root/model/version`; `golden_shift` spoils the golden scores."""
    graph = Graph(schema, seed)
    sizes = {name: dictionary.size for name, dictionary in dictionaries(schema).items()}
    manifest = Manifest(
        model=model, version=version, tasks=tuple(task.name for task in schema.tasks), fingerprint=schema.fingerprint(),
        dictionary_sizes=sizes, opset=20, source_commit="unknown", dataset="tiny", rows=1,
        metrics={"ctr": {"auc": 0.5}}, recipe={}, parity=0.0, macs={}, created="2026-01-01T00:00:00+00:00", files={},
    )  # fmt: skip
    with new_bundle(root, manifest) as folder:
        graph.write(folder)
        schema.save(folder / "schema.json")
        for name, dictionary in dictionaries(schema).items():
            (folder / "dictionaries").mkdir(exist_ok=True)
            dictionary.save(folder / "dictionaries" / f"{name}.npz")
        inputs = draw_inputs(schema, 3, 20)
        scores = {task: column + np.float32(golden_shift) for task, column in graph.scores(inputs).items()}
        write_golden(folder, inputs, scores)
    return graph


def encode(schema: Schema, sides: tuple[Side, ...], rows: list[dict[str, Any]]) -> tuple[Any, Any]:
    """Raw feature rows as matrices of ids and of numbers, column by column."""
    fields = schema.on(*sides)
    ids = np.zeros((len(rows), sum(field.slots for field in fields)), np.int32)
    dense = np.zeros((len(rows), sum(field.numbers for field in fields)), np.float32)
    places: dict[str, Any] = {**slot_columns(fields), **dense_columns(fields)}
    for field in fields:
        values = encode_field(field, dictionaries(schema), [row.get(field.name) for row in rows])
        (ids if field.slots else dense)[:, places[field.name]] = values if field.slots else values[:, None]
    return ids, dense


def expected(
    graph: Graph, user: dict[str, Any], context: dict[str, Any], items: list[dict[str, Any]]
) -> dict[str, NDArray[np.float32]]:
    """Scores of one request from raw features, no service involved; with ctcvr also the composed cvr."""
    request = encode(graph.schema, (Side.USER, Side.CONTEXT), [user | context])
    item = encode(graph.schema, (Side.ITEM, Side.CROSS), items)
    owner = np.zeros(len(items), np.int32)
    scores = graph.scores(dict(zip(INPUTS, (*request, *item, owner), strict=True)))
    return {**scores, "cvr": np.minimum(scores["ctcvr"] / scores["ctr"], 1)} if "ctcvr" in scores else scores
