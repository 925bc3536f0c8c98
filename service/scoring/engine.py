"""ONNX Runtime around the graphs of a bundle. It knows columns, not users and requests of HTTP."""

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from contract.bundle import Bundle
from contract.errors import BundleError, ConfigError
from contract.rows import Layout, layout
from contract.schema import Side, widths
from service.scoring.inputs import Inputs
from service.scoring.item_table import ItemTable

Device = Literal["cpu", "cuda"]
Scores = dict[str, NDArray[np.float32]]  # by task, [N]
CANDIDATE_INPUTS = {
    "request_columns", "item_columns", "request_of_item", "item_rows", "cross_ids", "cross_dense"
}  # fmt: skip
PLAIN = "_plain"  # ends the names of graphs for candidates that bring no cross features


class Engine(Protocol):
    """Scores candidates. At most `parallel` threads at a time call `run`, best with about `best_rows` candidates."""

    parallel: int
    best_rows: int

    def run(self, inputs: Inputs) -> Scores:
        """Scores of N candidates."""
        ...


class CpuEngine:
    """The split graphs on one thread a run; several runs at once use the cores better than several threads a run.

    The request half runs once a run for its R requests, the item half for items whose columns are not kept.
    """

    best_rows = 256  # above, a run's tensors leave the caches of a core

    def __init__(self, bundle: Bundle, threads: int = 1, items: int = 0, megabytes: int = 0) -> None:
        """`items` and `megabytes` bound the table of items' columns."""
        self.parallel = threads
        self._sessions = {name: open_session(path) for name, path in bundle.graphs.items()}
        candidates = [name for name in self._sessions if name.startswith("candidate")]
        self._reads = {name: check_inputs(bundle, name, self._sessions[name]) for name in candidates}
        self._cross = layout(bundle.schema, bundle.dictionaries, Side.CROSS)
        self._plain = PLAIN if f"candidate{PLAIN}" in self._sessions else ""
        self._tasks = list(bundle.manifest.tasks)
        self._ids, self._dense = widths(bundle.schema.on(Side.ITEM))
        self.items: ItemTable | None = None
        if "item" in self._sessions:
            width = self._sessions["item"].get_outputs()[0].shape[1]
            self.items = ItemTable(width, min(items, (megabytes << 20) // (4 * width)))

    def run(self, inputs: Inputs) -> Scores:
        """Scores of N candidates."""
        cross_ids, cross_dense = inputs.item_ids[:, self._ids :], inputs.item_dense[:, self._dense :]
        plain = self._plain if self._plain and is_plain(self._cross, cross_ids, cross_dense) else ""
        fed: dict[str, NDArray[Any]] = {
            "request_of_item": inputs.request_of_item, "cross_ids": cross_ids, "cross_dense": cross_dense,
        }  # fmt: skip
        if "request" in self._sessions:
            columns = self._columns("request", inputs.request_ids, inputs.request_dense, plain)
            fed["request_columns"] = columns
        candidate = f"candidate{plain}"
        if self.items is None:
            return self._scores(candidate, fed)
        columns, rows, run = self.items.take(inputs, lambda missing: self._item_columns(inputs, missing))
        try:
            return self._scores(candidate, {**fed, "item_columns": columns, "item_rows": rows})
        finally:
            self.items.done(run)

    def _item_columns(self, inputs: Inputs, candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        ids, dense = inputs.item_ids[candidates, : self._ids], inputs.item_dense[candidates, : self._dense]
        return self._columns("item", ids, dense)

    def _columns(
        self, side: str, ids: NDArray[np.int32], dense: NDArray[np.float32], plain: str = ""
    ) -> NDArray[np.float32]:
        session = self._sessions[f"{side}{plain}"]
        given = {f"{side}_ids": ids, f"{side}_dense": dense}
        (columns,) = session.run(None, {i.name: given[i.name] for i in session.get_inputs()})
        result: NDArray[np.float32] = columns
        return result

    def _scores(self, candidate: str, fed: dict[str, NDArray[Any]]) -> Scores:
        feed = {name: np.ascontiguousarray(fed[name]) for name in self._reads[candidate]}
        return dict(zip(self._tasks, self._sessions[candidate].run(self._tasks, feed), strict=True))


def open_session(path: Path) -> ort.InferenceSession:
    """A session on the CPU; BundleError where the graph does not load."""
    try:
        return ort.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises classes of its own
        raise BundleError(f"{path}: ONNX Runtime cannot load it on cpu: {line(error)}") from None


def check_inputs(bundle: Bundle, name: str, candidate: ort.InferenceSession) -> list[str]:
    """What a graph of candidates reads; BundleError where that, or what it gives, does not fit the manifest."""
    inputs = [node.name for node in candidate.get_inputs()]
    outputs = {node.name for node in candidate.get_outputs()}
    if unknown := sorted(set(inputs) - CANDIDATE_INPUTS) + sorted(set(bundle.manifest.tasks) - outputs):
        raise BundleError(
            f"{bundle.graphs[name]}: the graph's inputs and outputs do not fit the manifest: {', '.join(unknown)}"
        )
    return inputs


def is_plain(cross: Layout, ids: NDArray[np.int32], dense: NDArray[np.float32]) -> bool:
    """Whether no candidate brought cross features: all of them hold their defaults."""
    return bool((ids == cross.default_ids).all() and (dense == cross.default_dense).all())


def check_device(device: Device) -> None:
    """ConfigError where this device is not there; never a silent CPU."""
    if device == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
        raise ConfigError(
            "TWINSCORE_DEVICE=cuda: this onnxruntime has no CUDA; install the extra 'gpu' instead of 'cpu', "
            "or set TWINSCORE_DEVICE=cpu"
        )


def session_options() -> ort.SessionOptions:
    """One thread, which does not spin; nothing but errors in the log."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def line(error: Exception) -> str:
    """What the runtime says, as one line."""
    return " ".join(str(error).split())[:200]
