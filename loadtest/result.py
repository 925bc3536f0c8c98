"""The result file of a run: what was asked, of which service, where, and the figures, whole and by rounds."""

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contract.errors import ConfigError
from contract.files import write_text
from loadtest.catalogue import Catalogue
from loadtest.service_calls import served_models
from loadtest.timeline import SLOT_SECONDS, Sample, Timeline

if TYPE_CHECKING:
    from loadtest.headless import Run

FORMAT = 1
_TIME = ("shape", "users", "rate", "run_time", "rounds", "burst", "burst_time", "step_time")
ASKED = (*_TIME, "ids", "candidates", "inline", "unknown", "exponent", "seed")  # arguments


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run."""

    host: str
    workload: dict[str, Any]
    machine: dict[str, Any]
    commit: str
    models: dict[str, str]  # name → version
    figures: dict[str, float]
    rounds: list[dict[str, float]]
    counts: dict[str, int]
    findings: dict[str, Any]
    format: int = FORMAT

    def write(self, file: Path) -> None:
        """Write it whole."""
        write_text(file, json.dumps(asdict(self), indent=1) + "\n")


def read_result(file: Path) -> Result:
    """ConfigError where the file is none that `python -m loadtest` wrote."""
    try:
        read = json.loads(file.read_text())
        if read["format"] != FORMAT:
            raise ConfigError(f"{file}: is of format {read['format']}, {FORMAT} is needed; measure it anew")
        return Result(**read)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; name a result.json that `python -m loadtest` wrote") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{file}: is no result.json that `python -m loadtest` wrote") from None


def workload_of(args: argparse.Namespace, catalogue: Catalogue) -> dict[str, Any]:
    """What must be the same for two results to be compared."""
    sizes = {"stored_users": len(catalogue.users), "stored_items": len(catalogue.items)}
    return {name: getattr(args, name) for name in ASKED} | sizes | {"models": sorted(catalogue.tasks)}


def result_of(run: "Run", workload: dict[str, Any]) -> Result:
    """The result of a run by rounds; one more before them does not count: connections open, caches fill."""
    recorder = run.recorder
    rounds = max(1, min(workload["rounds"], int(run.seconds / SLOT_SECONDS) - 1))  # none is shorter than a slot
    length = run.seconds / (rounds + 1)
    parts = [(i * length, (i + 1) * length) for i in range(1, rounds + 1)]
    return Result(
        host=str(run.environment.host),
        workload=workload,
        machine=machine(),
        commit=commit(),
        models=served_models(str(run.environment.host)),
        figures=run.summary().figures(),
        rounds=[round_figures(recorder.timeline, recorder.samples, *part) for part in parts],
        counts=run.counts,
        findings=run.findings().figures,
    )


def round_figures(timeline: Timeline, samples: Sequence[Sample], start: float, end: float) -> dict[str, float]:
    """Figures of one round; with the service's CPU time a request, where its /metrics tell."""
    figures = timeline.window(start, end).figures()
    times, spent = [at for at, _, _ in samples], [cpu for _, _, cpu in samples]
    if figures["requests"] and len(times) > 1:
        before, after = np.interp((start, end), times, spent)
        figures["cpu_ms_a_request"] = 1_000 * float(after - before) / figures["requests"]
    return figures


def machine() -> dict[str, Any]:
    """Facts that must be the same for two results to be compared."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": cores,
        "architecture": platform.machine(),
        "system": platform.system(),
    }


def commit() -> str:
    """Of the working tree, with -dirty where it is changed."""
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    except OSError:
        return "unknown"
