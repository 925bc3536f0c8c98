"""PyTorch against ONNX Runtime on the same inputs; export refuses graphs that differ by more than the tolerance."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from contract.bundle import INPUTS, TOLERANCE, Arrays, difference
from contract.errors import BundleError
from contract.rows import Layout
from contract.schema import Schema
from export.draws import draw_split_inputs, joined
from training.models.ranker import Ranker

ITEM_COUNTS = (1, 2, 7, 64, 1000)
REQUEST_COUNTS = (1, 3)
Scorer = Callable[[Arrays], dict[str, NDArray[np.float32]]]


def verify(model: Ranker, schema: Schema, graph: Path) -> float:
    """Largest difference over all cases; BundleError, naming case and task, where it exceeds TOLERANCE or is NaN."""
    session = cpu_session(graph)
    return _verify(model, schema, graph.name, lambda inputs: onnx_scores(session, joined(inputs)))


def verify_split(model: Ranker, schema: Schema, graphs: Mapping[str, Path], cross: Layout) -> float:
    """The same of the three graphs together, and of the plain ones for candidates with `cross`'s defaults."""
    worst = _verify(model, schema, "the split graphs", SplitSession(graphs, schema).scores)
    if "candidate_plain" not in graphs:
        return worst
    plain = SplitSession(graphs, schema, suffix="_plain").scores
    return max(worst, _verify(model, schema, "the plain split graphs", plain, lambda inputs: _defaults(inputs, cross)))


def _defaults(inputs: Arrays, cross: Layout) -> Arrays:
    """The same candidates, whose cross fields hold their defaults."""
    ids, dense = inputs["cross_ids"], inputs["cross_dense"]
    return {
        **inputs,
        "cross_ids": np.broadcast_to(cross.default_ids, ids.shape).copy(),
        "cross_dense": np.broadcast_to(cross.default_dense, dense.shape).copy(),
    }


def _verify(
    model: Ranker, schema: Schema, name: str, scores: Scorer, change: Callable[[Arrays], Arrays] = lambda inputs: inputs
) -> float:
    worst = 0.0
    for items, requests in ((n, r) for n in ITEM_COUNTS for r in REQUEST_COUNTS):
        inputs = change(draw_split_inputs(schema, requests, max(1, items // 2), items, seed=items + requests))
        expected = torch_scores(model, schema, joined(inputs))
        for task, gap in _gaps(expected, scores(inputs)):
            if not gap <= TOLERANCE:
                raise BundleError(
                    f"{name}: task '{task}' differs from PyTorch by {gap:.2e} at {items} items of "
                    f"{requests} requests; at most {TOLERANCE:.0e} is allowed, no bundle was written"
                )
            worst = max(worst, gap)
    return worst


class SplitSession:
    """The three graphs, run one after the other; with suffix `_plain` those that know no cross fields."""

    def __init__(self, graphs: Mapping[str, Path], schema: Schema, suffix: str = "") -> None:
        chosen = {"request": f"request{suffix}", "item": "item", "candidate": f"candidate{suffix}"}
        self._sessions = {part: cpu_session(graphs[name]) for part, name in chosen.items() if name in graphs}
        self._tasks = [task.name for task in schema.tasks]
        self.reads = [node.name for node in self._sessions["candidate"].get_inputs()]

    def scores(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Scores by task, [candidates] each, for inputs of a split ranker."""
        return self.candidate_scores(self.columns(inputs))

    def columns(self, inputs: Arrays) -> Arrays:
        """The inputs with the columns of request and item: what the candidates' graph reads is among these."""
        fed = dict(inputs)
        for side in ("request", "item"):
            if side in self._sessions:
                (fed[f"{side}_columns"],) = self._run(side, None, fed)
        return fed

    def candidate_scores(self, fed: Arrays) -> dict[str, NDArray[np.float32]]:
        """Scores of what `columns` gave."""
        return dict(zip(self._tasks, self._run("candidate", self._tasks, fed), strict=True))

    def _run(self, name: str, outputs: list[str] | None, fed: Arrays) -> list[NDArray[np.float32]]:
        session = self._sessions[name]
        results: list[NDArray[np.float32]] = session.run(outputs, {i.name: fed[i.name] for i in session.get_inputs()})
        return results


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
