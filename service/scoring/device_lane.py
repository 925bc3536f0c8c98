"""Graphs bound to fixed addresses of a device, at one shape, ready to be replayed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from service.scoring.device_memory import Array, Block, Form, Packed, Tensor
from service.scoring.engine import Device

NO_GRAPH = -1  # a run that neither captures nor replays
_TYPES: dict[str, type[np.generic]] = {
    "tensor(int32)": np.int32, "tensor(float)": np.float32, "tensor(float16)": np.float16
}  # fmt: skip


class Step:
    """One graph at one shape, bound once."""

    def __init__(self, session: ort.InferenceSession, device: Device, graph: int = NO_GRAPH) -> None:
        """`graph` is the number that the session knows the captured graph by."""
        self._session, self._device, self._binding = session, device, session.io_binding()
        self._replayed, self._eager = _options(graph), _options(NO_GRAPH)
        self._bound: dict[str, Tensor] = {}  # the binding knows addresses alone

    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Bind the graph's inputs."""
        for name in (node.name for node in self._session.get_inputs()):
            at = self._bound[name] = tensors[name]
            self._binding.bind_input(name, self._device, 0, at.dtype, at.shape, at.address)

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Bind outputs."""
        self._bound.update(tensors)
        for name, at in tensors.items():
            self._binding.bind_output(name, self._device, 0, at.dtype, at.shape, at.address)

    def run(self, *, eager: bool = False) -> None:
        """Run, and wait for the end; `eager` is without the captured graph."""
        self._session.run_with_iobinding(self._binding, self._eager if eager else self._replayed)


@dataclass(frozen=True, slots=True)
class Lane:
    """All that runs of one shape need: N candidates of R requests."""

    packed: Packed
    steps: tuple[Step, ...]
    scores: Block  # [tasks, N]

    def run(self, arrays: Mapping[str, Array], *, eager: bool = False) -> Array:
        """Scores [tasks, N]; on the CPU, a view of what the next run writes."""
        self.packed.send(arrays)
        for step in self.steps:
            step.run(eager=eager)
        return self.scores.read()


def form(node: ort.NodeArg, rows: int) -> Form:
    """Shape and type of a graph's input or output, of so many rows."""
    return (rows, *node.shape[1:]), _TYPES[node.type]


def _options(graph: int) -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options
