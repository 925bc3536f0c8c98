"""ONNX Runtime around the graphs of a bundle. It knows columns, not users and requests of HTTP."""

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from contract.bundle import Bundle
from contract.errors import BundleError, ConfigError
from contract.schema import Side, dense_columns
from service.scoring.inputs import Inputs
from service.scoring.item_table import ItemTable

Device = Literal["cpu", "cuda"]
Scores = dict[str, NDArray[np.float32]]  # by task, [N]
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CANDIDATE_INPUTS = {
    "request_columns", "item_columns", "request_of_item", "item_rows", "cross_ids", "cross_dense"
}  # fmt: skip


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
        self._sessions = {name: open_session(path, "cpu") for name, path in bundle.graphs.items()}
        self._candidate = self._sessions["candidate"]
        self._reads = check_inputs(bundle, self._candidate)
        self._tasks = list(bundle.manifest.tasks)
        stored = bundle.schema.on(Side.ITEM)
        self._ids, self._dense = sum(field.slots for field in stored), len(dense_columns(stored))
        self.items: ItemTable | None = None
        if "item" in self._sessions:
            width = self._sessions["item"].get_outputs()[0].shape[1]
            self.items = ItemTable(width, min(items, (megabytes << 20) // (4 * width)))

    def run(self, inputs: Inputs) -> Scores:
        """Scores of N candidates."""
        fed: dict[str, NDArray[Any]] = {
            "request_of_item": inputs.request_of_item,
            "cross_ids": inputs.item_ids[:, self._ids :],
            "cross_dense": inputs.item_dense[:, self._dense :],
        }
        if "request" in self._sessions:
            fed["request_columns"] = self._columns("request", inputs.request_ids, inputs.request_dense)
        if self.items is None:
            return self._scores(fed)
        columns, rows, run = self.items.take(inputs, lambda missing: self._item_columns(inputs, missing))
        try:
            return self._scores({**fed, "item_columns": columns, "item_rows": rows})
        finally:
            self.items.done(run)

    def _item_columns(self, inputs: Inputs, candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        ids, dense = inputs.item_ids[candidates, : self._ids], inputs.item_dense[candidates, : self._dense]
        return self._columns("item", ids, dense)

    def _columns(self, side: str, ids: NDArray[np.int32], dense: NDArray[np.float32]) -> NDArray[np.float32]:
        session = self._sessions[side]
        given = {f"{side}_ids": ids, f"{side}_dense": dense}
        (columns,) = session.run(None, {i.name: given[i.name] for i in session.get_inputs()})
        result: NDArray[np.float32] = columns
        return result

    def _scores(self, fed: dict[str, NDArray[Any]]) -> Scores:
        feed = {name: np.ascontiguousarray(fed[name]) for name in self._reads}
        return dict(zip(self._tasks, self._candidate.run(self._tasks, feed), strict=True))


def open_session(path: Path, device: Device) -> ort.InferenceSession:
    """A session on this device; BundleError where the graph does not load, ConfigError where the device is absent."""
    check_device(device)
    try:
        session = ort.InferenceSession(path, _options(device), providers=_providers(device))
    except Exception as error:  # the runtime raises classes of its own, and RuntimeError for a driver
        raise BundleError(f"{path}: ONNX Runtime cannot load it on {device}: {_line(error)}") from None
    if device == "cuda" and _CUDA not in session.get_providers():
        raise ConfigError("TWINSCORE_DEVICE=cuda: ONNX Runtime fell back to the CPU; check driver, CUDA and cuDNN")
    return session


def check_inputs(bundle: Bundle, candidate: ort.InferenceSession) -> list[str]:
    """What the candidates' graph reads; BundleError where that, or what it gives, does not fit the manifest."""
    inputs = [node.name for node in candidate.get_inputs()]
    outputs = {node.name for node in candidate.get_outputs()}
    if unknown := sorted(set(inputs) - CANDIDATE_INPUTS) + sorted(set(bundle.manifest.tasks) - outputs):
        path = bundle.graphs["candidate"]
        raise BundleError(f"{path}: the graph's inputs and outputs do not fit the manifest: {', '.join(unknown)}")
    return inputs


def check_device(device: Device) -> None:
    """ConfigError where this device is not there; never a silent CPU."""
    if device == "cuda" and _CUDA not in ort.get_available_providers():
        raise ConfigError(
            "TWINSCORE_DEVICE=cuda: this onnxruntime has no CUDA; install the extra 'gpu' instead of 'cpu', "
            "or set TWINSCORE_DEVICE=cpu"
        )


def _options(device: Device) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device == "cuda":
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    return options


def _providers(device: Device) -> list[str | tuple[str, dict[str, str]]]:
    if device == "cpu":
        return [_CPU]
    if hasattr(ort, "preload_dlls"):  # CUDA and cuDNN from their wheels
        ort.preload_dlls()
    # TF32 would miss the golden scores; the arena grows to what the largest batch needs, and no further
    return [(_CUDA, {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}), _CPU]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
