"""The split graphs on one CUDA device: captured graphs, fixed addresses, one copy there and one back.

A run, on the one thread of this process that calls the device:
1. items whose columns the table lacks: their stored columns are packed and copied there, and the item graph writes
   straight into the rows of the table that are to hold them; nothing of this where all items are known;
2. all other inputs, of requests and candidates, are packed into one pinned block: one copy to the device;
3. the request graph and the candidates' graph are replayed, one launch each, at the padded shape of the run;
4. the scores of all tasks lie side by side: one copy back.
Each of these waits until the device is done, so the graphs, which have a stream each, need no events between them.

The GIL is held while inputs are packed (memcpy by numpy) and during the copies of 2 and 4, and released while graphs
run. ONNX Runtime keeps captured graphs in the thread that captured them, and a capture fails where another thread calls
CUDA meanwhile: so every engine of a process shares one thread.

What has been tested: all but CUDA itself, on the runtime's CPU build, which binds memory by address as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from contract.bundle import TOLERANCE, Bundle, difference
from contract.errors import BundleError
from contract.schema import Side, dense_columns
from service.scoring.buckets import candidate_buckets, fitting, request_buckets
from service.scoring.cuda_session import CudaOptions, Profiles, open_cuda_session
from service.scoring.device_memory import Array, Block, Form, Packed, Tensor
from service.scoring.device_table import RowRing
from service.scoring.engine import Device, Scores, check_inputs, open_session
from service.scoring.inputs import Inputs, from_arrays

CAPTURE_RUNS = 3  # two let the arena grow to what the shape needs, the third is captured
NO_GRAPH = -1  # a run that neither captures nor replays
_GRAPHS = ("request", "item", "candidate")
_TYPES: dict[str, type[np.generic]] = {
    "tensor(int32)": np.int32, "tensor(float)": np.float32, "tensor(float16)": np.float16
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """Bounds of the table of items' columns, beside the rows of one run."""

    items: int = 0
    megabytes: int = 0


class Step:
    """One graph at one shape, bound once."""

    def __init__(self, session: ort.InferenceSession, device: Device, graph: int) -> None:
        self._session, self._device, self._binding = session, device, session.io_binding()
        self._replayed, self._eager = ort.RunOptions(), ort.RunOptions()
        self._replayed.add_run_config_entry("gpu_graph_id", str(graph))
        self._eager.add_run_config_entry("gpu_graph_id", str(NO_GRAPH))

    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Bind the graph's inputs."""
        for name in (node.name for node in self._session.get_inputs()):
            at = tensors[name]
            self._binding.bind_input(name, self._device, 0, at.dtype, at.shape, at.address)

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Bind outputs."""
        for name, at in tensors.items():
            self._binding.bind_output(name, self._device, 0, at.dtype, at.shape, at.address)

    def run(self, *, eager: bool = False) -> None:
        """Run, and wait for the end."""
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


@dataclass(frozen=True, slots=True)
class ItemLane:
    """The item graph at one number of items."""

    packed: Packed
    step: Step
    rows: int


class CudaEngine:
    """An Engine of any number of candidates and requests; `best_rows` of them go in one run."""

    parallel = 1

    def __init__(
        self,
        bundle: Bundle,
        options: CudaOptions | None = None,
        largest: int = 4096,
        table: Table | None = None,
        *,
        device: Device = "cuda",
        split: bool = True,
    ) -> None:
        """`device` "cpu" runs the same without CUDA; without `split` the whole graph runs, for comparison."""
        self.best_rows = largest
        self._bundle, self._options, self._device = bundle, options or CudaOptions(), device
        self._split = split
        self._tasks = list(bundle.manifest.tasks)
        stored = bundle.schema.on(Side.ITEM)
        self._ids, self._dense = sum(field.slots for field in stored), len(dense_columns(stored))
        self._buckets = candidate_buckets(largest)
        self._thread = device_thread(device)
        self._thread.submit(self._load, table or Table()).result()

    @property
    def pinned(self) -> bool:
        """Whether the host's memory is pinned; copies from other memory take longer."""
        return all(lane.packed.pinned for lane in self._lanes.values())

    def run(self, inputs: Inputs) -> Scores:
        """Scores of N candidates."""
        return self._thread.submit(self._run, inputs).result()

    def _load(self, table: Table) -> None:
        graphs = self._bundle.graphs if self._split else {"candidate": self._bundle.model_path}
        self._sessions = {name: self._open(name, graphs[name]) for name in _GRAPHS if name in graphs}
        self._candidate = self._sessions["candidate"]
        if self._split:
            check_inputs(self._bundle, "candidate", self._candidate)
        self._item_lanes: dict[int, ItemLane] = {}
        self._ring: RowRing | None = None
        if "item" in self._sessions:
            self._place_items(table)
        if "request" in self._sessions:
            self._request_columns = Block(self._candidate, self._device, self._form("request", self.best_rows))
        self._lanes = dict(self._bind())
        self._capture()

    def _open(self, name: str, path: Path) -> ort.InferenceSession:
        if self._device == "cpu":
            return open_session(path)
        # the item graph writes to other rows each time, which a captured graph cannot
        captured = self._options.graphs and name != "item"
        profiles = self._profiles(path) if self._options.tensorrt else {}
        return open_cuda_session(path, self._options, captured=captured, profiles=profiles)

    def _profiles(self, path: Path) -> Profiles:
        """Shapes that each input of a graph may have, from one row to the largest run's or, of items, the table's."""
        largest = self.best_rows
        shapes = {node.name: tuple(node.shape[1:]) for node in open_session(path).get_inputs()}
        return {name: ((1, *columns), (largest, *columns)) for name, columns in shapes.items()}

    def _place_items(self, table: Table) -> None:
        """The table, in the arena of the graph that reads it; no larger than a run where memory is short."""
        width = self._sessions["item"].get_outputs()[0].shape[1]
        row = width * np.dtype(self._form("item", 0)[1]).itemsize
        kept = min(table.items, (table.megabytes << 20) // row)
        try:
            rows = self.best_rows + kept
            self._columns = Block(self._candidate, self._device, self._form("item", rows))
        except (RuntimeError, MemoryError):
            rows = self.best_rows
            self._columns = Block(self._candidate, self._device, self._form("item", rows))
        self._row_bytes, self._item_columns = row, self._columns.tensor((rows, width))
        self._ring = RowRing(rows, lambda count: fitting(self._buckets, count))
        for bucket in reversed(self._buckets):
            self._item_lanes[bucket] = self._item_lane(bucket)

    def _item_lane(self, rows: int) -> ItemLane:
        session = self._sessions["item"]
        packed = Packed(session, self._device, {node.name: _form(node, rows) for node in session.get_inputs()})
        step = Step(session, self._device, NO_GRAPH)
        step.read(packed.tensors)
        lane = ItemLane(packed, step, rows)
        self._write_items(lane, 0)
        for _ in range(CAPTURE_RUNS):
            step.run()
        return lane

    def _write_items(self, lane: ItemLane, first: int) -> None:
        """Bind the item graph's output to rows of the table from `first` on."""
        shape = (lane.rows, self._item_columns.shape[1])
        (name,) = (node.name for node in self._sessions["item"].get_outputs())
        lane.step.write({name: self._columns.tensor(shape, first * self._row_bytes)})

    def _bind(self) -> Iterator[tuple[tuple[int, int], Lane]]:
        """Every shape of a run, the largest first: the arena grows once."""
        shapes = [(rows, requests) for rows in self._buckets for requests in request_buckets(rows)]
        for number, (rows, requests) in enumerate(reversed(shapes), 1):
            yield (rows, requests), self._lane(rows, requests, number)

    def _lane(self, rows: int, requests: int, number: int) -> Lane:
        forms = {}
        for name in ("request", "candidate"):
            for node in self._sessions[name].get_inputs() if name in self._sessions else ():
                if not node.name.endswith("_columns"):
                    per_request = node.name in ("request_ids", "request_dense")
                    forms[node.name] = _form(node, requests if per_request else rows)
        packed = Packed(self._candidate, self._device, forms)
        at, steps = dict(packed.tensors), []
        if "request" in self._sessions:
            at["request_columns"] = self._request_columns.tensor(self._form("request", requests)[0])
            steps.append(self._step("request", number, at, ["request_columns"]))
        if self._ring is not None:
            at["item_columns"] = self._item_columns
        scores = Block(self._candidate, self._device, ((len(self._tasks), rows), np.float32))
        at |= {task: scores.tensor((rows,), place * rows * 4) for place, task in enumerate(self._tasks)}
        steps.append(self._step("candidate", number, at, self._tasks))
        return Lane(packed, tuple(steps), scores)

    def _step(self, name: str, number: int, at: Mapping[str, Tensor], outputs: Sequence[str]) -> Step:
        step = Step(self._sessions[name], self._device, number)
        step.read(at)
        step.write({output: at[output] for output in outputs})
        return step

    def _capture(self) -> None:
        """Capture every shape, then hold what the graphs replay against runs without them.

        A capture that holds memory which was reused since replays other scores without an error: this finds it.
        """
        golden = from_arrays(self._bundle.golden()[0])
        expected = {}
        for (rows, requests), lane in self._lanes.items():
            arrays = self._arrays(_repeated(golden, rows, requests))
            expected[rows, requests] = lane.run(arrays, eager=True).copy()
            for _ in range(CAPTURE_RUNS):
                lane.run(arrays)
        for (rows, requests), lane in self._lanes.items():
            scores = lane.run(self._arrays(_repeated(golden, rows, requests)))
            if not (difference(expected[rows, requests], scores) <= TOLERANCE).all():
                raise BundleError(
                    f"{self._bundle.path}: a CUDA graph of {rows} candidates replays other scores than a run without "
                    "it; set TWINSCORE_CUDA_GRAPHS=false"
                )

    def _form(self, side: str, rows: int) -> Form:
        """Of a side's columns."""
        return _form(self._sessions[side].get_outputs()[0], rows)

    def _run(self, inputs: Inputs) -> Scores:
        largest = self.best_rows
        starts = range(0, max(1, len(inputs)), largest)
        parts = [self._part(inputs.part(start, start + largest)) for start in starts]
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return dict(zip(self._tasks, scores, strict=True))

    def _part(self, inputs: Inputs) -> NDArray[np.float32]:
        """Scores [tasks, N] of a run."""
        if len(inputs.request_ids) > len(inputs):
            inputs = _without_idle_requests(inputs)
        rows = fitting(self._buckets, len(inputs))
        requests = fitting(request_buckets(rows), len(inputs.request_ids))
        scores: NDArray[np.float32] = self._lanes[rows, requests].run(self._arrays(inputs))[:, : len(inputs)].copy()
        return scores

    def _arrays(self, inputs: Inputs) -> dict[str, Array]:
        """What the graphs read of a run, by name; its items are in the table when this returns."""
        arrays: dict[str, Array] = {
            "request_ids": inputs.request_ids,
            "request_dense": inputs.request_dense,
            "request_of_item": inputs.request_of_item,
            "item_ids": inputs.item_ids,
            "item_dense": inputs.item_dense,
            "cross_ids": inputs.item_ids[:, self._ids :],
            "cross_dense": inputs.item_dense[:, self._dense :],
        }
        if self._ring is not None:
            arrays["item_rows"] = self._item_rows(self._ring, inputs)
        return arrays

    def _item_rows(self, ring: RowRing, inputs: Inputs) -> NDArray[np.int32]:
        """Each candidate's row of the table, after computing those that are not there."""
        placed = ring.place(inputs.item_keys)
        if len(placed.computed):
            lane = self._item_lanes[fitting(self._buckets, len(placed.computed))]
            self._write_items(lane, placed.start)
            ids, dense = inputs.item_ids[placed.computed], inputs.item_dense[placed.computed]
            lane.packed.send({"item_ids": ids[:, : self._ids], "item_dense": dense[:, : self._dense]})
            lane.step.run()
            ring.keep(placed)
        return placed.rows


@cache
def device_thread(device: Device) -> ThreadPoolExecutor:
    """The thread of this process that calls the device."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"device-{device}")


def _form(node: ort.NodeArg, rows: int) -> Form:
    """Shape and type of a graph's input or output, of so many rows."""
    return (rows, *node.shape[1:]), _TYPES[node.type]


def _repeated(inputs: Inputs, rows: int, requests: int) -> Inputs:
    """N candidates of R requests, of these again and again; requests are taken in turn."""
    items, users = np.arange(rows) % len(inputs), np.arange(requests) % len(inputs.request_ids)
    return Inputs(
        inputs.request_ids[users],
        inputs.request_dense[users],
        inputs.item_ids[items],
        inputs.item_dense[items],
        (np.arange(rows) % requests).astype(np.int32),
        np.zeros(rows, np.int64),
    )


def _without_idle_requests(inputs: Inputs) -> Inputs:
    """The same candidates, without requests that have none of them."""
    busy, of_item = np.unique(inputs.request_of_item, return_inverse=True)
    return Inputs(
        inputs.request_ids[busy],
        inputs.request_dense[busy],
        inputs.item_ids,
        inputs.item_dense,
        of_item.astype(np.int32),
        inputs.item_keys,
    )
