"""`python -m training prepare|schema|train`; `--help` lists the commands, `COMMAND --help` their options."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from contract.command import run

# command → (module with `add_parser`, what it does); only the module of the command asked for is imported
COMMANDS = {
    "prepare": ("training.datasets.prepare", "raw files → a prepared data set: schema, dictionaries, Parquet"),
    "synthetic": ("training.datasets.synthetic.writing", "a click log with known true probabilities, as files"),
    "schema": ("training.datasets.drafting.draft", "draft a schema file from your own data"),
    "describe": ("training.describe.command", "what a prepared data set holds: rates, coverage, drift, leaks"),
    "train": ("training.train", "a prepared data set → a trained model in a RUN folder"),
    "evaluate": ("training.assessment", "metrics of a trained model on a prepared data set"),
    "benchmark": ("training.benchmark.command", "models compared: tuned alike, several seeds, a report with intervals"),
    "sweep": ("training.benchmark.sweep", "models compared over a grid of synthetic logs"),
    "replay": ("training.replay.command", "what trained models would have earned, from a log with propensities"),
    "importance": ("training.importance", "which fields matter to which task of a trained model"),
}


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Run the command that the arguments name; returns its exit status."""
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # before torch: threads that spin long are ruinous on shared cores
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser(given[0] if given else "").parse_args(given)
    command: Callable[[argparse.Namespace], int | None] = parsed.command
    return command(parsed)


def _parser(chosen: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        if name == chosen:
            import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
