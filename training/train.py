"""Train on a prepared data set, stop early, keep the best weights, report.

The data are held in memory whole. Ctrl-C keeps the best so far; before the first validation nothing is written.
"""

import argparse
import os
from pathlib import Path

import torch
from rich.console import Console

from contract.errors import ConfigError
from training.batches import Batch
from training.calibration import calibrate
from training.checkpoint import check_out, describe, save_checkpoint
from training.config import Recipe, read_recipe
from training.datasets.prepared import SPLITS, Prepared
from training.evaluation import evaluate
from training.fit import fit
from training.models import MODELS, build_model
from training.report import metrics_table


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `train` command."""
    parser = subparsers.add_parser("train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    parser.add_argument("--model", required=True, metavar="NAME", help=" or ".join(MODELS))
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder to write, or an earlier run")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="YAML (default: training/recipes/<model>.yaml)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="over the recipe, as model.embedding=32"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same machine, same result (default: 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if there")
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    recipe = read_recipe(args.model, args.recipe, args.set)
    return train(args.data, args.model, recipe, args.out, args.seed, args.device)


def train(path: Path, model_name: str, recipe: Recipe, out: Path, seed: int = 0, device_name: str = "auto") -> int:
    """Train on prepared data and write the RUN folder; 130 where Ctrl-C cut it short, else 0."""
    console, out, device, data = Console(), check_out(out), choose_device(device_name), Prepared.open(path)
    torch.manual_seed(seed)
    model = build_model(model_name, data.schema, recipe.model).to(device)
    matrices = {split: data.matrices(split) for split in SPLITS}
    splits = {split: Batch.of(matrices[split], data.schema, device) for split in SPLITS}
    seen = splits["train"]
    model.measure(seen.request_dense, seen.item_dense, seen.labels, seen.counted)
    fitted = fit(model, seen, splits["validation"], recipe, seed, console)
    model.load_state_dict(fitted.weights)
    calibrate(model, splits["validation"])
    metrics = {split: evaluate(model, splits[split]) for split in ("validation", "test")}
    config = describe(model_name, recipe, seed, device.type, data, fitted.steps, fitted.interrupted)
    save_checkpoint(out, model.state_dict(), config, data, matrices["validation"], metrics)
    console.print(metrics_table(metrics))
    console.print(f"{'interrupted: kept the best so far in' if fitted.interrupted else 'wrote'} {out}", soft_wrap=True)
    return 130 if fitted.interrupted else 0


def choose_device(name: str) -> torch.device:
    """The device of this name; ConfigError for a `cuda` that is absent."""
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise ConfigError("--device cuda: torch finds no CUDA device here; use --device cpu or auto")
    if name == "cpu" or not present:
        torch.set_flush_denormal(True)  # denormals in the optimiser's moments slow CPUs down
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # needed for the next line
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda")
