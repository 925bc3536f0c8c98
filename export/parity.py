"""PyTorch against ONNX Runtime on the same inputs; export refuses a graph that differs by more than the tolerance."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from contract.bundle import INPUTS, TOLERANCE, Arrays, difference
from contract.errors import BundleError
from contract.schema import Field, Kind, Schema
from training.models.ranker import Ranker

ITEM_COUNTS = (1, 2, 7, 64, 1000)
REQUEST_COUNTS = (1, 3)


def verify(model: Ranker, schema: Schema, graph: Path) -> float:
    """Largest difference over all cases; BundleError, naming case and task, where it exceeds TOLERANCE or is NaN."""
    session = cpu_session(graph)
    worst = 0.0
    for items, requests in ((n, r) for n in ITEM_COUNTS for r in REQUEST_COUNTS):
        inputs = draw_inputs(schema, requests, items, seed=items + requests)
        expected, got = torch_scores(model, schema, inputs), onnx_scores(session, inputs)
        for task, gap in _gaps(expected, got):
            if not gap <= TOLERANCE:
                raise BundleError(
                    f"{graph.name}: task '{task}' differs from PyTorch by {gap:.2e} at {items} items of "
                    f"{requests} requests; at most {TOLERANCE:.0e} is allowed, no bundle was written"
                )
            worst = max(worst, gap)
    return worst


def draw_inputs(schema: Schema, requests: int, items: int, seed: int) -> Arrays:
    """Random graph inputs; one id in eight is 0, one in eight lies outside its table, numbers are heavy-tailed."""
    random = np.random.default_rng(seed)
    return {
        "request_ids": _draw_ids(schema.request_fields, requests, random),
        "request_dense": _draw_dense(schema.request_fields, requests, random),
        "item_ids": _draw_ids(schema.item_fields, items, random),
        "item_dense": _draw_dense(schema.item_fields, items, random),
        "request_of_item": np.sort(random.integers(0, requests, items)).astype(np.int32),
    }


def torch_scores(model: Ranker, schema: Schema, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    """Scores by task from PyTorch, [items] each."""
    model.eval()
    with torch.inference_mode():
        outputs = model(*(torch.from_numpy(inputs[name]) for name in INPUTS))
    return {task.name: output.numpy() for task, output in zip(schema.tasks, outputs, strict=True)}


def onnx_scores(session: Any, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    """Scores by task from ONNX Runtime, [items] each."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def cpu_session(graph: Path) -> Any:
    """One-thread CPU session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _gaps(expected: dict[str, NDArray[np.float32]], got: dict[str, NDArray[np.float32]]) -> Iterator[tuple[str, float]]:
    for task, scores in expected.items():
        same_shape = scores.shape == got[task].shape
        yield task, float(difference(scores, got[task]).max()) if same_shape else float("inf")


def _draw_ids(fields: Sequence[Field], rows: int, random: np.random.Generator) -> NDArray[np.int32]:
    parts = [_draw_field(field, rows, random) for field in fields if field.slots]
    return np.hstack([np.empty((rows, 0), np.int32), *parts]).astype(np.int32)


def _draw_field(field: Field, rows: int, random: np.random.Generator) -> NDArray[np.int64]:
    ids = random.integers(0, field.size, (rows, field.slots))
    kind = random.integers(0, 8, ids.shape)
    beyond = random.choice([field.size, field.size + 1, 2**31 - 1, -1], ids.shape)
    return np.where(kind == 0, 0, np.where(kind == 1, beyond, ids))


def _draw_dense(fields: Sequence[Field], rows: int, random: np.random.Generator) -> NDArray[np.float32]:
    numeric = [field for field in fields if field.kind is Kind.NUMERIC]
    columns = [field.mean + 3 * field.scale * random.standard_t(3, rows) for field in numeric]
    return np.column_stack([np.empty((rows, 0)), *columns]).astype(np.float32)
