"""ONNX Runtime: one session, one graph. It knows arrays, not users, items or requests."""

from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from contract.bundle import INPUTS
from contract.errors import BundleError, ConfigError
from service.scoring.inputs import Inputs

Device = Literal["cpu", "cuda"]
Scores = dict[str, NDArray[np.float32]]  # by task, [N]
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_DTYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(float)": np.float32}


class Engine:
    """A loaded graph. At most `parallel` threads at a time call `run`."""

    parallel = 1
    best_rows = 4096

    def __init__(self, path: Path, tasks: tuple[str, ...], device: Device = "cpu", threads: int = 1) -> None:
        check_device(device)
        try:
            self._session = ort.InferenceSession(path, _options(device, threads), providers=_providers(device))
        except Exception as error:  # the runtime raises classes of its own, and RuntimeError for a driver
            raise BundleError(f"{path}: ONNX Runtime cannot load it on {device}: {_line(error)}") from None
        if device == "cuda" and _CUDA not in self._session.get_providers():
            raise ConfigError("TWINSCORE_DEVICE=cuda: ONNX Runtime fell back to the CPU; check driver, CUDA and cuDNN")
        inputs = {node.name: node.type for node in self._session.get_inputs()}
        outputs = [node.name for node in self._session.get_outputs()]
        if unknown := sorted(inputs.keys() - set(INPUTS)) + sorted(set(tasks) - set(outputs)):
            raise BundleError(f"{path}: the graph's inputs and outputs do not fit the manifest: {', '.join(unknown)}")
        self._dtypes = {name: _DTYPES[kind] for name, kind in inputs.items()}
        self._tasks = list(tasks)

    def run(self, inputs: Inputs) -> Scores:
        """Scores of N candidates."""
        feed = {name: np.ascontiguousarray(getattr(inputs, name), dtype) for name, dtype in self._dtypes.items()}
        return dict(zip(self._tasks, self._session.run(self._tasks, feed), strict=True))


def check_device(device: Device) -> None:
    """ConfigError where this device is not there; never a silent CPU."""
    if device == "cuda" and _CUDA not in ort.get_available_providers():
        raise ConfigError(
            "TWINSCORE_DEVICE=cuda: this onnxruntime has no CUDA; install the extra 'gpu' instead of 'cpu', "
            "or set TWINSCORE_DEVICE=cpu"
        )


def _options(device: Device, threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads if device == "cpu" else 1
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
