"""Metrics of a trained model on prepared data; refuses data that mean something else by the same columns."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from contract.errors import DataError
from contract.files import write_text
from training.checkpoint import load_checkpoint
from training.datasets.prepared import SPLITS, Prepared
from training.device import choose_device
from training.evaluation import chains, measured, predict
from training.report import print_metrics
from training.stream import open_rows


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `evaluate` command."""
    parser = subparsers.add_parser("evaluate", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="what `train` wrote")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set of the same schema")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the metrics here, as JSON")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if there")
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    device, data = choose_device(args.device), Prepared.open(args.data)
    checkpoint = load_checkpoint(args.run, against=data)
    model = checkpoint.model.to(device)
    rows = open_rows(data, args.split, checkpoint.recipe, device)
    if not rows.counted.any():
        raise DataError(f"{args.data}: the {args.split} split has no labelled row")
    raw = predict(model, rows)
    metrics = {args.split: measured(model, raw, rows) | chains(model, raw, rows)}
    print_metrics(Console(), metrics, checkpoint.schema.tasks)
    if args.out is not None:
        write_text(args.out, json.dumps(metrics, indent=1) + "\n")
    return 0
