"""Checkpoint → ONNX graph → bundle that was verified against PyTorch before it got its name."""

import logging
import subprocess
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from shutil import copy, copytree

import onnx
import torch
from rich.console import Console

from contract.bundle import INPUTS, Arrays, Manifest, new_bundle, write_golden
from contract.files import sha256
from contract.schema import Schema
from export.parity import draw_inputs, torch_scores, verify
from training.checkpoint import Checkpoint, load_checkpoint
from training.models.ranker import Ranker

OPSET = 20
GOLDEN_REQUESTS, GOLDEN_ITEMS = 4, 64


def export_model(run: Path, out: Path) -> Path:
    """Write `out/<model>/<version>/` and return it; BundleError, and no bundle, where parity misses the tolerance."""
    console = Console(soft_wrap=True)
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # asks for torchvision
    checkpoint = load_checkpoint(run)
    with tempfile.TemporaryDirectory() as scratch, console.status(f"export {checkpoint.config.model}"):
        graph = Path(scratch) / "model.onnx"
        export_graph(checkpoint.model, checkpoint.schema, graph)
        parity = verify(checkpoint.model, checkpoint.schema, graph)
        manifest = _manifest(checkpoint, graph, parity)
        with new_bundle(out, manifest) as folder:
            copy(graph, folder / "model.onnx")
            copy(run / "schema.json", folder / "schema.json")
            copytree(run / "dictionaries", folder / "dictionaries")
            golden = golden_inputs(checkpoint)
            write_golden(folder, golden, torch_scores(checkpoint.model, checkpoint.schema, golden))
    path = out / manifest.model / manifest.version
    console.print(f"{path}: verified, within {parity:.1e} of PyTorch", highlight=False)
    return path


def export_graph(model: Ranker, schema: Schema, path: Path) -> None:
    """Write the ONNX graph with free numbers of requests R and items N."""
    model.eval()
    requests, items = torch.export.Dim("R", max=2**20), torch.export.Dim("N", max=2**20)
    rows = {"request_ids": requests, "request_dense": requests}
    # 0 and 1 are special to the tracer, so the example has neither
    example = draw_inputs(schema, requests=3, items=7, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on how it names axes; `verify` is the check
        program = torch.onnx.export(
            model,
            tuple(torch.from_numpy(example[name]) for name in INPUTS),
            input_names=list(INPUTS),
            output_names=[task.name for task in schema.tasks],
            dynamic_shapes=tuple({0: rows.get(name, items)} for name in INPUTS),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None only for dynamo=False
    onnx.save(_without_traces(program.model_proto), path)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's stack traces: a third of a small file, and paths of the machine that exported."""
    graph = model.graph
    graph.ClearField("value_info")
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output, graph, model):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def golden_inputs(checkpoint: Checkpoint) -> Arrays:
    """Graph inputs: real validation rows in the first half of the items, drawn ids in the second."""
    inputs = draw_inputs(checkpoint.schema, GOLDEN_REQUESTS, GOLDEN_ITEMS, seed=7)
    for name, rows in checkpoint.sample().items():
        chosen = rows[: len(inputs[name]) // 2]
        inputs[name][: len(chosen)] = chosen
    return inputs


def _manifest(checkpoint: Checkpoint, graph: Path, parity: float) -> Manifest:
    config, schema = checkpoint.config, checkpoint.schema
    now = datetime.now(UTC)
    return Manifest(
        model=config.model,
        version=f"{now:%Y%m%dT%H%M%S}-{sha256(graph)[:8]}",
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
