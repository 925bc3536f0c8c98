"""Memory of a device with fixed addresses, and the host's memory that is copied there.

ONNX Runtime binds an input or output by address, so that tensors of any type lie side by side in one block and go over
in one copy; a captured graph reads and writes the addresses it was captured with.
"""

import ctypes
import mmap
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.scoring.engine import Device

_ALIGNED = 256  # bytes, as cudaMalloc aligns
_CUDA_RUNTIMES = ("libcudart.so.13", "libcudart.so.12")  # loaded already by the provider's library
_PORTABLE = 1  # pinned for every context

Array = NDArray[Any]
Form = tuple[tuple[int, ...], type[np.generic]]  # shape and type of a tensor


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor somewhere in a block, whose memory lasts as long as this does."""

    block: "Block"
    address: int
    shape: tuple[int, ...]
    dtype: type[np.generic]


class Block:
    """Bytes of the device from a session's own arena, so that its limit holds for them too; not initialised."""

    def __init__(self, session: ort.InferenceSession, device: Device, form: Form) -> None:
        shape, self._dtype = form
        self._value = session.create_ortvalue_from_shape_and_type(list(shape), self._dtype, device, 0)
        self._address = self._value.data_ptr()

    def tensor(self, shape: tuple[int, ...], first: int = 0, dtype: type[np.generic] | None = None) -> Tensor:
        """A tensor that begins `first` bytes into the block."""
        return Tensor(self, self._address + first, shape, dtype or self._dtype)

    def write(self, content: Array) -> None:
        """Copy all of the block from the host; it has arrived when this returns."""
        self._value.update_inplace(content)

    def read(self) -> Array:
        """Copy all of the block to the host; on the CPU, a view."""
        content: Array = self._value.numpy()
        return content


class Packed:
    """Tensors side by side, on the host and on the device. Rows beyond those filled keep what they held before."""

    def __init__(self, session: ort.InferenceSession, device: Device, forms: Mapping[str, Form]) -> None:
        places, total = {}, 0
        for name, (shape, dtype) in forms.items():
            places[name] = total
            total += -(-prod(shape) * np.dtype(dtype).itemsize // _ALIGNED) * _ALIGNED
        self._host = np.frombuffer(mmap.mmap(-1, max(total, _ALIGNED)), np.uint8)  # zeros, on pages of their own
        self.pinned = device == "cuda" and pin(self._host)
        block = Block(session, device, (self._host.shape, np.uint8))
        block.write(self._host)  # ids that a run does not fill are 0, never what the memory held before
        self._block = block
        self.tensors = {name: block.tensor(shape, places[name], dtype) for name, (shape, dtype) in forms.items()}
        self._views = {name: self._view(places[name], *form) for name, form in forms.items()}

    def send(self, arrays: Mapping[str, Array]) -> None:
        """Copy the first rows of each tensor to the device: one copy, of all of the block."""
        for name, view in self._views.items():
            rows = arrays[name]
            view[: len(rows)] = rows
        self._block.write(self._host)

    def _view(self, first: int, shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
        size = prod(shape) * np.dtype(dtype).itemsize
        return self._host[first : first + size].view(dtype).reshape(shape)


def pin(memory: NDArray[np.uint8]) -> bool:
    """Lock these pages for the device, which then copies from them without a stop; False where CUDA does not.

    The runtime's Python API names no pinned device, so the CUDA runtime that it has loaded is asked directly.
    """
    for name in _CUDA_RUNTIMES:
        try:
            runtime = ctypes.CDLL(name)
        except OSError:
            continue
        address = ctypes.c_void_p(memory.ctypes.data)
        if runtime.cudaHostRegister(address, ctypes.c_size_t(memory.nbytes), ctypes.c_uint(_PORTABLE)) == 0:
            weakref.finalize(memory, runtime.cudaHostUnregister, address)
            return True
        runtime.cudaGetLastError()  # a failed call would be taken for a kernel's
    return False
