"""Columns of hot items in device memory, computed there once an item and model."""

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.scoring.buckets import fitting
from service.scoring.device_lane import Step, form
from service.scoring.device_memory import Block, Packed, Tensor
from service.scoring.engine import Device
from service.scoring.inputs import Inputs
from service.scoring.row_ring import RowRing

_WARM_RUNS = 2  # until the arena has what the shape needs


@dataclass(frozen=True, slots=True)
class Table:
    """Bounds of the table, beside the rows of one run."""

    items: int = 0
    megabytes: int = 0


class DeviceTable:
    """The item graph writes into it, the candidates' graph reads it; for the thread of the device alone."""

    def __init__(
        self,
        item: ort.InferenceSession,
        reader: ort.InferenceSession,
        device: Device,
        buckets: list[int],
        bounds: Table,
    ) -> None:
        self._item, self._device, self._buckets = item, device, buckets
        (self._output,) = item.get_outputs()
        (_, width), dtype = form(self._output, 0)
        self._row_bytes = width * np.dtype(dtype).itemsize
        rows = buckets[-1] + min(bounds.items, (bounds.megabytes << 20) // self._row_bytes)
        try:
            self._block = Block(reader, device, form(self._output, rows))
        except (RuntimeError, MemoryError):  # memory is short: the rows of one run, and what is left in them
            rows = buckets[-1]
            self._block = Block(reader, device, form(self._output, rows))
        self.columns: Tensor = self._block.tensor((rows, width))
        self.ring = RowRing(rows, lambda count: fitting(buckets, count))
        self._lanes = {bucket: self._lane(bucket) for bucket in reversed(buckets)}  # the arena grows once

    def rows(self, inputs: Inputs) -> NDArray[np.int32]:
        """Each candidate's row [N], after computing what is not there."""
        placed = self.ring.place(inputs.item_keys)
        if len(placed.computed):
            bucket = fitting(self._buckets, len(placed.computed))
            packed, step = self._lanes[bucket]
            self._write(step, bucket, placed.start)
            arrays = {"item_ids": inputs.item_ids, "item_dense": inputs.item_dense}
            packed.send({name: _stored(arrays[name][placed.computed], packed.tensors[name]) for name in packed.tensors})
            step.run()
            self.ring.keep(placed)
        return placed.rows

    def _lane(self, rows: int) -> tuple[Packed, Step]:
        packed = Packed(self._item, self._device, {node.name: form(node, rows) for node in self._item.get_inputs()})
        step = Step(self._item, self._device)  # never captured: it writes elsewhere each time
        step.read(packed.tensors)
        self._write(step, rows, 0)
        for _ in range(_WARM_RUNS):
            step.run()
        return packed, step

    def _write(self, step: Step, rows: int, first: int) -> None:
        """Bind the output to rows of the table from `first` on."""
        shape, _ = form(self._output, rows)
        step.write({self._output.name: self._block.tensor(shape, first * self._row_bytes)})


def _stored(columns: NDArray[np.generic], tensor: Tensor) -> NDArray[np.generic]:
    """The stored columns, which come before those that a request brings."""
    return columns[:, : tensor.shape[1]]
