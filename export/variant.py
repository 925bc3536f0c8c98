"""A bundle's graphs in int8 or fp16: converted, assessed on validation rows, and refused where they cost too much."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from contract.bundle import LOOSEST, Arrays, Manifest, difference
from contract.errors import BundleError, ConfigError
from contract.files import sha256
from contract.schema import Schema
from export.assessment import Metrics, assessed, check, loss_table, losses
from export.draws import draw_split_inputs
from export.parity import SplitSession
from export.precision import Graphs, Variant, converted, parted
from export.speed import rows_per_second
from training.batches import Batch
from training.checkpoint import Checkpoint, load_checkpoint
from training.datasets.prepared import Prepared
from training.stream import open_rows

ASSESSED, SCALED = (
    1 << 17,
    1 << 12,
)  # validation rows, at most: to assess it on, and to measure scales of activations on
MAX_AUC_LOSS = 0.001
TIMED = 200  # candidates
MARGIN, LEAST = 2.0, 1e-3  # of a tolerance: other devices add up in another order, and round to the step beside


@dataclass(frozen=True)
class MadeVariant:
    """Graphs of candidates in another precision, and what they cost on `rows` validation rows."""

    precision: Variant
    graphs: Graphs
    loss: Metrics
    rows: int

    def tolerance(self, graphs: Mapping[str, Path], schema: Schema, golden: Arrays, expected: Arrays) -> float:
        """What golden scores of all graphs together may differ by; BundleError where that would check nothing."""
        scores = SplitSession(graphs, schema).scores(parted(golden, schema))
        gap = max(float(difference(column, scores[task]).max()) for task, column in expected.items())
        if not MARGIN * gap <= LOOSEST:
            raise BundleError(
                f"{self.precision}: golden scores differ from PyTorch's by {gap:.2g}; at most {LOOSEST / MARGIN:g} is "
                "allowed, no bundle was written, serve fp32"
            )
        return max(LEAST, MARGIN * gap)

    def manifest(self, exact: Manifest, tolerance: float) -> Manifest:
        """That of the fp32 bundle, with what is different."""
        time, _, _ = exact.version.partition("-")
        changed: dict[str, object] = {
            "model": f"{exact.model}-{self.precision}",
            "version": f"{time}-{sha256(self.graphs['candidate'])[:8]}",
            "precision": self.precision,
            "tolerance": tolerance,
            "loss": self.loss,
            "loss_rows": self.rows,
        }
        return exact.model_copy(update=changed)


def make_variant(
    graphs: Mapping[str, Path],
    precision: Variant,
    rows: Batch,
    schema: Schema,
    folder: Path,
    max_auc_loss: float,
    console: Console,
) -> MadeVariant:
    """Convert, tell what it costs and brings, and raise BundleError where AUC or calibration suffers beyond bounds."""
    made = converted(graphs, precision, rows.sample(SCALED), schema, folder)
    found = dict[str, Metrics]()
    for name in made:
        suffix = name.removeprefix("candidate")
        sessions = SplitSession(graphs, schema, suffix), SplitSession(made, schema, suffix)
        exact, variant = assessed(*sessions, rows, schema)
        console.print(loss_table(exact, variant, precision, f"{name}.onnx, {len(rows):,} validation rows"))
        console.print(_speeds(*sessions, precision, schema), highlight=False)
        check(exact, variant, precision, max_auc_loss)
        found[name] = losses(exact, variant)
    return MadeVariant(precision, made, found["candidate"], len(rows))


def _speeds(exact: SplitSession, variant: SplitSession, precision: Variant, schema: Schema) -> str:
    fed = exact.columns(draw_split_inputs(schema, 1, TIMED, TIMED, seed=0))
    was, now = rows_per_second({"fp32": exact, precision: variant}, fed).values()
    gain = f"{was:,.0f} rows/s in fp32, {now:,.0f} in {precision} ({now / was:.2f}x)"
    return f"{TIMED} candidates on a thread of this CPU: {gain}"


def validation_rows(checkpoint: Checkpoint, data: Path | None) -> Batch:
    """Up to ASSESSED labelled rows; ConfigError where the data are not there or not the run's."""
    path = data or Path(checkpoint.config.data)
    if data is None and not path.exists():
        raise ConfigError(f"{path}, which the run was trained on, is gone; name its prepared data by --data")
    prepared = Prepared.open(path)
    load_checkpoint(checkpoint.path, against=prepared)
    rows = open_rows(prepared, "validation", checkpoint.recipe, torch.device("cpu")).sample(ASSESSED)
    if not rows.counted.any():
        raise ConfigError(f"{path}: the validation split has no labelled row to assess a precision on; take fp32")
    return rows
