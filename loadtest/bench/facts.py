"""What a reader must know of a run: machine, packages, commit, model, settings."""

import argparse
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from loadtest.bench.bodies import EXPONENT
from loadtest.floors import Source
from loadtest.http_load import generator

_PACKAGES = ("onnxruntime", "numpy", "uvicorn", "redis")


def facts(args: argparse.Namespace, source: Source) -> str:
    """One line."""
    return (
        f"{len(os.sched_getaffinity(0))} cores, {_processor()}; Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in _PACKAGES)}; commit {_commit()}; "
        f"model {source.bundle.parent.name}@{source.bundle.name}; ids drawn by Zipf({EXPONENT}); {_how(args)}."
    )


def _how(args: argparse.Namespace) -> str:
    closed = f"HTTP by {generator()} on the same machine"
    if args.part != "table":
        return f"{closed}, {args.seconds:g} s each"
    return (
        f"floors in {args.processes} processes of one thread, {closed}; medians of {args.rounds} rounds of "
        f"{args.seconds:g} s, spread is (max - min) / median of requests/s"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _commit() -> str:
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
