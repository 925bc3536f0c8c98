"""Checkpoint → ONNX graph → bundle that was verified against PyTorch before it got its name."""

import logging
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from shutil import copy, copytree

import onnx
from rich.console import Console

from contract.bundle import INPUTS, Arrays, Manifest, new_bundle, read_dictionaries, write_golden
from contract.crossing import Crosses
from contract.files import sha256
from contract.rows import Layout, layout
from contract.schema import Schema, Side
from export.draws import draw_inputs
from export.graph import OPSET, macs, trace
from export.parity import torch_scores, verify, verify_split
from export.precision import check_precision
from export.split import split_graphs
from export.variant import MAX_AUC_LOSS, make_variant, validation_rows
from training.checkpoint import Checkpoint, load_checkpoint
from training.models.ranker import Ranker

GOLDEN_REQUESTS, GOLDEN_ITEMS = 4, 64


def export_model(
    run: Path, out: Path, precision: str = "fp32", data: Path | None = None, max_auc_loss: float = MAX_AUC_LOSS
) -> Path:
    """Write `out/<model>/<version>/` and return it; BundleError, and no bundle, where parity misses the tolerance.

    Other precisions than fp32 go to `out/<model>-<precision>`; they are scaled and assessed on validation rows of
    `data`, by default of the data that the run was trained on.
    """
    console = Console(soft_wrap=True)
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # asks for torchvision
    wanted = check_precision(precision)
    checkpoint = load_checkpoint(run)
    rows = None if wanted == "fp32" else validation_rows(checkpoint, data)
    with tempfile.TemporaryDirectory() as scratch, console.status(f"export {checkpoint.config.model}"):
        model, schema, graph = checkpoint.model, checkpoint.schema, Path(scratch) / "model.onnx"
        export_graph(model, schema, graph)
        parity = verify(model, schema, graph)
        cross = layout(schema, read_dictionaries(run, schema), Side.CROSS)
        graphs = {"model": graph, **export_split(model, schema, cross, Path(scratch))}
        parity = max(parity, verify_split(model, schema, graphs, cross))
        manifest = _manifest(checkpoint, graphs, parity)
        golden = golden_inputs(checkpoint)
        expected = torch_scores(model, schema, golden)
        if wanted != "fp32" and rows is not None:
            variant = make_variant(graphs, wanted, rows, schema, Path(scratch) / wanted, max_auc_loss, console)
            graphs |= variant.graphs
            manifest = variant.manifest(manifest, variant.tolerance(graphs, schema, golden, expected))
        with new_bundle(out, manifest) as folder:
            for path in graphs.values():
                copy(path, folder)
            copy(run / "schema.json", folder / "schema.json")
            copytree(run / "dictionaries", folder / "dictionaries")
            write_golden(folder, golden, expected)
    path = out / manifest.model / manifest.version
    told = "" if wanted == "fp32" else f" in fp32; golden scores in {wanted} within {manifest.tolerance:.1e}"
    console.print(f"{path}: verified, within {parity:.1e} of PyTorch{told}", highlight=False)
    return path


def export_graph(model: Ranker, schema: Schema, path: Path) -> None:
    """Write the whole graph with free numbers of requests R and items N."""
    rows = {name: "R" if name.startswith("request_") and name != "request_of_item" else "N" for name in INPUTS}
    example = draw_inputs(schema, requests=3, items=7, seed=0)
    onnx.save(trace(model.eval(), example, rows, [task.name for task in schema.tasks]), path)


def export_split(model: Ranker, schema: Schema, cross: Layout, folder: Path) -> dict[str, Path]:
    """Write the graphs of the split; where each of them is."""
    paths = {}
    for name, graph in split_graphs(model, schema, cross).items():
        paths[name] = folder / f"{name}.onnx"
        onnx.save(graph, paths[name])
    return paths


def golden_inputs(checkpoint: Checkpoint) -> Arrays:
    """Graph inputs: real validation rows in the first half of the items, drawn ids in the second; crosses of these."""
    inputs = draw_inputs(checkpoint.schema, GOLDEN_REQUESTS, GOLDEN_ITEMS, seed=7)
    for name, rows in checkpoint.sample().items():
        chosen = rows[: len(inputs[name]) // 2]
        inputs[name][: len(chosen)] = chosen
    Crosses(checkpoint.schema).fill(inputs["request_ids"], inputs["item_ids"], inputs["request_of_item"])
    return inputs


def _manifest(checkpoint: Checkpoint, graphs: dict[str, Path], parity: float) -> Manifest:
    config, schema = checkpoint.config, checkpoint.schema
    now = datetime.now(UTC)
    return Manifest(
        model=config.model,
        version=f"{now:%Y%m%dT%H%M%S}-{sha256(graphs['model'])[:8]}",
        tasks=tuple(task.name for task in schema.tasks),
        fingerprint=schema.fingerprint(),
        dictionary_sizes={field.name: field.size for field in schema.fields if field.needs_dictionary},
        opset=OPSET,
        source_commit=_commit(),
        dataset=config.source,
        rows=config.rows["train"],
        metrics={task: dict(of_task) for task, of_task in checkpoint.metrics["validation"].items()},
        recipe=config.recipe,
        parity=parity,
        macs={name: macs(onnx.load(graph)) for name, graph in graphs.items()},
        created=now.isoformat(timespec="seconds"),
    )


def _commit() -> str:
    """The source commit, with `-dirty` where the tree differs from it; `unknown` outside git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
