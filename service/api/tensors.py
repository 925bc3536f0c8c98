"""Tensors of the Open Inference Protocol v2: arrays as JSON, or as little-endian bytes after the JSON.

Bytes are Triton's binary data extension: the header HEADER gives the length of the JSON, each tensor its own size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from contract.bundle import Arrays
from contract.schema import Schema, widths
from service.api.inference_messages import InferInput, InferOutput
from service.errors import INVALID_REQUEST, ServiceProblem
from service.scoring.engine import Scores

Side = Literal["request", "item"]

HEADER = "Inference-Header-Content-Length"
OWNER = "request_of_item"
_DTYPES = {"INT32": "<i4", "INT64": "<i8", "FP32": "<f4"}
# INT64 is what numpy and JSON libraries make of whole numbers; Triton itself would refuse it
_ACCEPTED = {"INT32": ("INT32", "INT64"), "FP32": ("FP32",)}
_INT32 = np.iinfo(np.int32)
_SIDES: tuple[Side, Side] = ("request", "item")


@dataclass(frozen=True, slots=True)
class Spec:
    """An input: [R, width] where `side` is request, [N, width] where it is item; [N] where width is None."""

    side: Side
    datatype: Literal["INT32", "FP32"]
    width: int | None = None

    @property
    def shape(self) -> list[int]:
        """With -1 for any number of rows."""
        return [-1] if self.width is None else [-1, self.width]


def input_specs(schema: Schema) -> dict[str, Spec]:
    """Inputs of contract.bundle.INPUTS, also those of width 0."""
    specs: dict[str, Spec] = {}
    for side, fields in zip(_SIDES, (schema.request_fields, schema.item_fields), strict=True):
        ids, dense = widths(fields)
        specs[f"{side}_ids"] = Spec(side, "INT32", ids)
        specs[f"{side}_dense"] = Spec(side, "FP32", dense)
    specs[OWNER] = Spec("item", "INT32")
    return specs


def split_body(body: bytes, header: str | None) -> tuple[bytes, memoryview]:
    """The JSON, and the bytes after it."""
    if header is None:
        return body, memoryview(b"")
    if not (header.isascii() and header.isdigit() and len(header) < 20):
        raise _problem(f"{HEADER}: '{header}' is not a length in bytes")
    length = int(header)
    if length > len(body):
        raise _problem(f"{HEADER}: {length}, but the body has {len(body)} bytes")
    return body[:length], memoryview(body)[length:]


def decode(tensors: Sequence[InferInput], raw: memoryview, specs: Mapping[str, Spec], most: int) -> Arrays:
    """The model's five inputs, from what was sent; `most` rows at most. A problem names the input that does not fit."""
    arrays: Arrays = {}
    start = 0
    for tensor in tensors:
        spec = specs.get(tensor.name)
        if spec is None:
            raise _problem(f"input '{tensor.name}': unknown; the model takes {', '.join(specs)}")
        if tensor.name in arrays:
            raise _problem(f"input '{tensor.name}': sent twice")
        size = tensor.parameters.binary_data_size
        arrays[tensor.name] = _array(tensor, spec, raw[start : start + size] if size is not None else None, most)
        start += size or 0
    if start != len(raw):
        raise _problem(f"{len(raw)} bytes follow the JSON, but the inputs' binary_data_size add up to {start}")
    return _complete(arrays, specs)


def _array(tensor: InferInput, spec: Spec, raw: memoryview | None, most: int) -> NDArray[Any]:
    where = f"input '{tensor.name}'"
    _check_kind(tensor, spec, where, most)
    if (raw is None) == (tensor.data is None):
        raise _problem(f"{where}: send 'data' or the parameter 'binary_data_size', exactly one of the two")
    count = tensor.shape[0] * (1 if spec.width is None else spec.width)
    if raw is not None:
        values = _from_bytes(raw, tensor, count, where)
    else:
        values = _from_json(_flat(tensor, where), spec, count, where)
    return _narrow(values, spec, where).reshape(tensor.shape)


def _check_kind(tensor: InferInput, spec: Spec, where: str, most: int) -> None:
    if tensor.parameters.shared_memory_region is not None:
        raise _problem(f"{where}: shared memory is not offered; send the values")
    if tensor.datatype not in _ACCEPTED[spec.datatype]:
        raise _problem(f"{where}: datatype {tensor.datatype}; the model takes {' or '.join(_ACCEPTED[spec.datatype])}")
    if len(tensor.shape) != len(spec.shape) or tensor.shape[1:] != spec.shape[1:]:
        raise _problem(f"{where}: shape {tensor.shape}; the model takes {spec.shape}, -1 being the number of rows")
    if not 1 <= tensor.shape[0] <= most:
        raise _problem(f"{where}: {tensor.shape[0]} rows; 1 to {most} (TWINSCORE_MAX_BATCH_ROWS) are taken")


def _from_bytes(raw: memoryview, tensor: InferInput, count: int, where: str) -> NDArray[Any]:
    dtype = np.dtype(_DTYPES[tensor.datatype])
    size = tensor.parameters.binary_data_size
    if size != count * dtype.itemsize:
        raise _problem(
            f"{where}: binary_data_size {size}; shape {tensor.shape} of {tensor.datatype} is "
            f"{count * dtype.itemsize} bytes"
        )
    if len(raw) != size:
        raise _problem(f"{where}: {size} bytes announced, {len(raw)} found; is {HEADER} the length of the JSON?")
    return np.frombuffer(raw, dtype)


def _flat(tensor: InferInput, where: str) -> list[Any]:
    """Values row by row, whether they came nested or flat."""
    data = tensor.data or []
    if len(tensor.shape) == 1 or not data or type(data[0]) is not list:
        return data
    rows, width = tensor.shape
    if len(data) != rows:
        raise _problem(f"{where}: {len(data)} rows of data; shape {tensor.shape} has {rows}")
    for i, row in enumerate(data):
        if type(row) is not list or len(row) != width:
            raise _problem(f"{where}: row {i} of its data is not a list of {width} values")
    return list(chain.from_iterable(data))


def _from_json(values: list[Any], spec: Spec, count: int, where: str) -> NDArray[Any]:
    if len(values) != count:
        raise _problem(f"{where}: {len(values)} values of data; its shape has {count}")
    whole = spec.datatype == "INT32"
    kinds = {int} if whole else {int, float}
    if not set(map(type, values)) <= kinds:
        i = next(i for i, value in enumerate(values) if type(value) not in kinds)
        raise _problem(f"{where}: data[{i}] is {values[i]!r}, not a {'whole ' if whole else ''}number")
    try:
        return np.array(values, np.int64 if whole else np.float64)
    except OverflowError:
        raise _problem(f"{where}: a value of its data is outside {spec.datatype}") from None


def _narrow(values: NDArray[Any], spec: Spec, where: str) -> NDArray[Any]:
    """Values as the model's type; always a copy, since bytes after the JSON lie at any address."""
    if spec.datatype == "FP32":
        with np.errstate(over="ignore"):
            narrow, kind = values.astype(np.float32), "a finite FP32"
        fits = np.isfinite(narrow)
    else:
        narrow, kind = values.astype(np.int32), "an INT32"
        fits = (values >= _INT32.min) & (values <= _INT32.max)
    if not fits.all():
        i = int(fits.argmin())
        raise _problem(f"{where}: value {i} is {values[i]}, not {kind}")
    return narrow


def _complete(arrays: Arrays, specs: Mapping[str, Spec]) -> Arrays:
    """All five inputs, of R requests and N candidates; what may be left out is filled in."""
    for name, spec in specs.items():
        if name not in arrays and spec.width:
            raise _problem(f"input '{name}': missing; the model takes {spec.datatype} {spec.shape}")
    rows = {side: _rows({name: array for name, array in arrays.items() if specs[name].side == side}) for side in _SIDES}
    rows["request"] = requests = rows["request"] or 1
    if OWNER not in arrays and (requests > 1 or not rows["item"]):
        raise _problem(f"input '{OWNER}': missing; it says to which of {requests} requests each candidate belongs")
    complete = {
        name: arrays[name]
        if name in arrays
        else np.zeros((rows[spec.side], *spec.shape[1:]), np.dtype(_DTYPES[spec.datatype]))
        for name, spec in specs.items()
    }
    _check_owner(complete[OWNER], requests)
    return complete


def _rows(arrays: Arrays) -> int:
    """Rows of these inputs, which must agree; 0 where there is none."""
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise _problem(f"inputs with different numbers of rows: {told}")
    return next(iter(counts.values()), 0)


def _check_owner(owner: NDArray[np.int32], requests: int) -> None:
    fits = (owner >= 0) & (owner < requests)
    if not fits.all():
        i = int(fits.argmin())
        raise _problem(f"input '{OWNER}': value {i} is {owner[i]}, outside [0, {requests}), the requests sent")


def encode(scores: Scores, wanted: Mapping[str, bool], head: Mapping[str, object]) -> tuple[bytes, int | None]:
    """The reply's body, and the length of its JSON where bytes follow; `wanted` says which outputs come as bytes.

    float32 is written with the fewest digits that read back to the same float32; not finite: null.
    """
    outputs: list[dict[str, object]] = []
    raw: list[bytes] = []
    for task, binary in wanted.items():
        column = np.ascontiguousarray(scores[task], np.float32)
        output: dict[str, object] = {"name": task, "datatype": "FP32", "shape": list(column.shape)}
        if binary:
            raw.append(column.astype("<f4", copy=False).tobytes())
            outputs.append(output | {"parameters": {"binary_data_size": column.nbytes}})
        else:
            outputs.append(output | {"data": column})
    text = orjson.dumps({**head, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join((text, *raw)), len(text) if raw else None


def wanted_outputs(asked: Sequence[InferOutput], tasks: Sequence[str], binary: bool) -> dict[str, bool]:
    """Which outputs to answer with, in order, and whether as bytes; `binary` is for those that do not say."""
    wanted: dict[str, bool] = {}
    for output in asked:
        where, parameters = f"output '{output.name}'", output.parameters
        if output.name not in tasks:
            raise _problem(f"{where}: unknown; the model gives {', '.join(tasks)}")
        if output.name in wanted:
            raise _problem(f"{where}: asked for twice")
        if parameters.shared_memory_region is not None or parameters.classification is not None:
            raise _problem(f"{where}: neither shared memory nor classification is offered; read the scores")
        wanted[output.name] = binary if parameters.binary_data is None else parameters.binary_data
    return wanted or dict.fromkeys(tasks, binary)


def _problem(detail: str) -> ServiceProblem:
    return ServiceProblem(INVALID_REQUEST, detail)
