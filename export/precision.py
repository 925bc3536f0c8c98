"""The candidates' graph in a smaller type than fp32: int8 for CPUs, fp16 for GPUs.

Only large matrix products change type (`export.graph.large_products`). Embeddings, the columns of the cut, gates,
softmax, calibration and outputs stay fp32, and so do the graphs of request and item, which run once.

int8 is static: scales of activations are measured once, on validation rows. Scales that follow each batch (dynamic
quantisation) are no faster, and would let a candidate's score depend on the candidates beside it.
bf16 is refused: ONNX Runtime has no bfloat16 matrix product for x86 CPUs, and on a GPU fp16 is as fast and finer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from contract.bundle import INPUTS, Arrays, Precision
from contract.errors import ConfigError
from contract.schema import Schema, Side, widths
from export.graph import large_products
from export.half import halved
from export.parity import SplitSession
from training.batches import Batch

Variant = Literal["int8", "fp16"]
Graphs = dict[str, Path]
AT_ONCE = 512  # rows of a calibration step


def converted(graphs: Mapping[str, Path], variant: Variant, rows: Batch, schema: Schema, folder: Path) -> Graphs:
    """Graphs of candidates in this precision, scaled on these rows, written to `folder`; where each of them is."""
    folder.mkdir(exist_ok=True)
    paths = {}
    for name in (name for name in graphs if name.startswith("candidate")):
        paths[name], model = folder / f"{name}.onnx", onnx.load(graphs[name])
        if not large_products(model.graph):
            raise ConfigError(f"--precision {variant}: the model has no matrix product large enough to gain; take fp32")
        if variant == "fp16":
            onnx.save(halved(model), paths[name])
        else:
            session = SplitSession(graphs, schema, name.removeprefix("candidate"))
            _quantise(model, _Calibration(session, rows, schema), paths[name])
    return paths


def _quantise(model: onnx.ModelProto, calibration: CalibrationDataReader, path: Path) -> None:
    add_pre_process_metadata(model)  # export has simplified it; else the quantiser asks for that
    quantize_static(
        model,
        path,
        calibration,
        nodes_to_quantize=[node.name for node in large_products(model.graph)],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,  # 7 bits: CPUs without VNNI add pairs of products in 16 bits, which 8 would overflow
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # it has no types
    """What the candidates' graph reads for these rows, some at a time."""

    def __init__(self, session: SplitSession, rows: Batch, schema: Schema) -> None:
        batches = (session.columns(split_rows(part, schema)) for part in rows.in_order(AT_ONCE))
        self._feeds = ({name: fed[name] for name in session.reads} for fed in batches)

    def get_next(self) -> Arrays | None:
        """The next rows, None after the last."""
        return next(self._feeds, None)


def check_precision(precision: str) -> Precision:
    """ConfigError, with the reason, where it cannot be had."""
    if precision == "bf16":
        raise ConfigError(
            "--precision bf16: ONNX Runtime has no bfloat16 matrix product for x86 CPUs, and on GPUs fp16 is as fast "
            "and finer; take int8 (CPU) or fp16 (GPU)"
        )
    return cast(Precision, precision)


def split_rows(rows: Batch, schema: Schema) -> Arrays:
    """Inputs of the split graphs for impressions, each of which is a request and an item of its own."""
    columns = {name: getattr(rows, name).numpy() for name in INPUTS[:-1]}
    return parted({**columns, "request_of_item": np.arange(len(rows), dtype=np.int32)}, schema)


def parted(inputs: Arrays, schema: Schema) -> Arrays:
    """Inputs of the whole graph as those of the split ones; each candidate is an item of its own."""
    ids, dense = widths(schema.on(Side.ITEM))
    return {
        **inputs,
        "item_ids": inputs["item_ids"][:, :ids],
        "item_dense": inputs["item_dense"][:, :dense],
        "cross_ids": inputs["item_ids"][:, ids:],
        "cross_dense": inputs["item_dense"][:, dense:],
        "item_rows": np.arange(len(inputs["item_ids"]), dtype=np.int32),
    }
