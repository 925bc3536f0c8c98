"""The split graphs on one CUDA device: captured graphs, fixed addresses, one copy there and one back.

A run, on the one thread of this process that calls the device:
1. items whose columns the table lacks: their stored columns are packed and copied there, and the item graph writes
   straight into the rows of the table that are to hold them; nothing of this where all items are known;
2. all other inputs, of requests and candidates, are packed into one pinned block: one copy to the device;
3. the request graph and the candidates' graph are replayed, one launch each, at the padded shape of the run;
4. the scores of all tasks lie side by side: one copy back.
Each of these waits until the device is done, so the graphs, which have a stream each, need no events between them.

The GIL is held while inputs are packed (memcpy by numpy) and during the copies, and released while graphs run. ONNX
Runtime keeps captured graphs in the thread that captured them, and a capture fails where another thread calls CUDA
meanwhile: so all engines of a process share one thread.

Tested is all but CUDA itself, on the runtime's CPU build, which binds memory by address as well; nothing is measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from contract.bundle import TOLERANCE, Bundle, difference
from contract.errors import BundleError
from contract.rows import layout
from contract.schema import Side, widths
from service.scoring.buckets import candidate_buckets, fitting, request_buckets
from service.scoring.cuda_session import CudaOptions, check_tensorrt, open_cuda_session
from service.scoring.device_lane import Lane, Step, form
from service.scoring.device_memory import Array, Block, Packed, Tensor
from service.scoring.device_table import DeviceTable, Table
from service.scoring.engine import PLAIN, Device, Scores, check_device, check_inputs, is_plain, line, open_session
from service.scoring.inputs import Inputs, from_arrays

CAPTURE_RUNS = 3  # two let the arena grow to what the shape needs, the third is captured
_REQUEST_INPUTS = ("request_ids", "request_dense")

Shape = tuple[str, int, int]  # the variant of the graphs, candidates, requests


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
        check_device(device)
        check_tensorrt(self._options)
        self._split = split
        self._graphs = bundle.graphs if split else {"candidate": bundle.model_path}
        self._variants = [end for end in ("", PLAIN) if f"candidate{end}" in self._graphs]
        self._tasks = list(bundle.manifest.tasks)
        self._ids, self._dense = widths(bundle.schema.on(Side.ITEM))
        self._cross = layout(bundle.schema, bundle.dictionaries, Side.CROSS)
        self._buckets = candidate_buckets(largest)
        self.items: DeviceTable | None = None
        self._thread = device_thread(device)
        try:
            self._thread.submit(self._load, table or Table()).result()
        except (RuntimeError, MemoryError, OSError) as error:
            raise BundleError(
                f"{bundle.path}: cannot be loaded on {device}: {line(error)}; where memory is short, lower "
                "TWINSCORE_MAX_BATCH_ROWS or TWINSCORE_ITEM_TABLE_MB"
            ) from None

    @property
    def pinned(self) -> bool:
        """Whether the host's memory is pinned; copies from other memory take longer."""
        return all(lane.packed.pinned for lane in self._lanes.values())

    def run(self, inputs: Inputs) -> Scores:
        """Scores of N candidates."""
        return self._thread.submit(self._run, inputs).result()

    def _load(self, bounds: Table) -> None:
        """On the device's thread, as all below."""
        self._sessions = {name: self._open(name, path) for name, path in self._graphs.items()}
        for name in (f"candidate{variant}" for variant in self._variants if self._split):
            check_inputs(self._bundle, name, self._sessions[name])
        if "item" in self._sessions:
            item, reader = self._sessions["item"], self._sessions["candidate"]
            self.items = DeviceTable(item, reader, self._device, self._buckets, bounds)
        self._lanes = dict(self._bind())
        self._capture()

    def _open(self, name: str, path: Path) -> ort.InferenceSession:
        if self._device == "cpu":
            return open_session(path)
        captured = self._options.graphs and name != "item"  # which writes to other rows each time
        return open_cuda_session(path, self._options, captured=captured, largest=self.best_rows)

    def _bind(self) -> Iterator[tuple[Shape, Lane]]:
        """Every shape of a run, the largest first: the arena grows once."""
        shapes = [(rows, requests) for rows in self._buckets for requests in request_buckets(rows)]
        for variant in self._variants:
            columns = self._request_columns(variant)
            for number, (rows, requests) in enumerate(reversed(shapes), 1):
                yield (variant, rows, requests), self._lane(variant, rows, requests, number, columns)

    def _request_columns(self, variant: str) -> Block | None:
        """What the request graph writes and the candidates' graph reads, of the most requests."""
        session = self._sessions.get(f"request{variant}")
        return session and Block(session, self._device, form(session.get_outputs()[0], self.best_rows))

    def _lane(self, variant: str, rows: int, requests: int, number: int, columns: Block | None) -> Lane:
        candidate = self._sessions[f"candidate{variant}"]
        request = self._sessions.get(f"request{variant}")
        nodes = [*candidate.get_inputs(), *(request.get_inputs() if request else ())]
        sent = [node for node in nodes if not node.name.endswith("_columns")]
        forms = {node.name: form(node, requests if node.name in _REQUEST_INPUTS else rows) for node in sent}
        packed, steps = Packed(candidate, self._device, forms), []
        at = dict(packed.tensors)
        if request and columns:
            (output,) = request.get_outputs()
            at[output.name] = columns.tensor(form(output, requests)[0])
            steps.append(self._step(request, number, at, [output.name]))
        if self.items:
            at["item_columns"] = self.items.columns
        scores = Block(candidate, self._device, ((len(self._tasks), rows), np.float32))
        at |= {task: scores.tensor((rows,), place * rows * 4) for place, task in enumerate(self._tasks)}
        steps.append(self._step(candidate, number, at, self._tasks))
        return Lane(packed, tuple(steps), scores)

    def _step(
        self, session: ort.InferenceSession, number: int, at: Mapping[str, Tensor], outputs: Sequence[str]
    ) -> Step:
        step = Step(session, self._device, number)
        step.read(at)
        step.write({output: at[output] for output in outputs})
        return step

    def _capture(self) -> None:
        """Capture every shape, then hold what the graphs replay against runs without them.

        A captured graph that reads memory which was given to another since replays other scores without an error, as
        ONNX Runtime's own buffers for Split and Concat once were: capturing all shapes before comparing shows it.
        """
        golden, expected = from_arrays(self._bundle.golden()[0]), {}
        for shape, lane in self._lanes.items():
            arrays = self._arrays(_repeated(golden, *shape[1:]))
            expected[shape] = lane.run(arrays, eager=True).copy()
            for _ in range(CAPTURE_RUNS):
                lane.run(arrays)
        for shape, lane in self._lanes.items():
            scores = lane.run(self._arrays(_repeated(golden, *shape[1:])))
            if not (difference(expected[shape], scores) <= TOLERANCE).all():
                raise BundleError(
                    f"{self._bundle.path}: the CUDA graph of {shape[1]} candidates replays other scores than a run "
                    "without it; set TWINSCORE_CUDA_GRAPHS=false"
                )

    def _run(self, inputs: Inputs) -> Scores:
        largest = self.best_rows
        parts = [self._part(inputs.part(at, at + largest)) for at in range(0, max(1, len(inputs)), largest)]
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return dict(zip(self._tasks, scores, strict=True))

    def _part(self, inputs: Inputs) -> NDArray[np.float32]:
        """Scores [tasks, N] of one run."""
        if len(inputs.request_ids) > len(inputs):
            inputs = _without_idle_requests(inputs)
        arrays = self._arrays(inputs)
        plain = PLAIN in self._variants and is_plain(self._cross, arrays["cross_ids"], arrays["cross_dense"])
        rows = fitting(self._buckets, len(inputs))
        requests = fitting(request_buckets(rows), len(inputs.request_ids))
        lane = self._lanes[PLAIN if plain else "", rows, requests]
        scores: NDArray[np.float32] = lane.run(arrays)[:, : len(inputs)].copy()
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
        return {**arrays, "item_rows": self.items.rows(inputs)} if self.items else arrays


@cache
def device_thread(device: Device) -> ThreadPoolExecutor:
    """The thread of this process that calls the device."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"device-{device}")


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
