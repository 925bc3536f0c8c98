"""One trial from here: write it, run the library's script in its environment, read what came of it."""

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigError
from training.metrics import auc
from training.peers import environments
from training.peers.exchange import Exchange

# sizes of the comparison; `experts` are a task's own in PLE, all in MMoE
COMMON: dict[str, Any] = {"embedding": 16, "tower": [64], "dropout": 0.2, "learning_rate": 1e-3}
SIZES: dict[str, dict[str, Any]] = {
    "ple": {**COMMON, "levels": 2, "experts": 2, "shared_experts": 2, "expert_layers": [128]},
    "mmoe": {**COMMON, "experts": 6, "expert_layers": [128, 128]},
}


@dataclass(frozen=True)
class Budget:
    """How long to train; `steps`: throughput alone, so many steps and no evaluation."""

    epochs: int = 12
    parts: int = 2  # of an epoch, each followed by a validation
    patience: int = 5
    steps: int | None = None
    workers: int = 0  # of the data loaders of torch-rechub and FuxiCTR; DeepCTR-Torch has none


@dataclass(frozen=True)
class Outcome:
    """A row of the comparison. `auc`: of each task over its own space's test rows; `error`: it failed, and why."""

    library: str
    model: str
    batch_size: int
    seed: int
    error: str | None = None
    auc: dict[str, float | None] = field(default_factory=dict)
    rows_per_second: float | None = None
    windows: list[tuple[int, float]] = field(default_factory=list)  # rows and seconds between two evaluations
    parameters: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    predictions: NDArray[np.float32] | None = field(default=None, repr=False)

    def described(self) -> dict[str, object]:
        """All but the predictions, for JSON."""
        return {name: value for name, value in vars(self).items() if name != "predictions"}


def run(
    library: str, model: str, batch_size: int, seed: int, budget: Budget, data: Exchange, zoo: Path | None = None
) -> Outcome:
    """Train one library's model in a process of its own; whatever fails there is the row's `error`."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        data.save(folder)
        trial = {
            "model": model,
            "batch_size": batch_size,
            "seed": seed,
            **vars(budget),
            "sizes": SIZES[model],
            **data.described(),
            "zoo": None if zoo is None else str(zoo.resolve()),
        }
        (folder / "trial.json").write_text(json.dumps(trial), encoding="utf-8")
        try:
            environments.prepare(library)
            _call(command(library, folder / "trial.json"))
            return _read(folder, Outcome(library, model, batch_size, seed), data)
        except ConfigError as error:
            return Outcome(library, model, batch_size, seed, error=str(error))


def command(library: str, trial: Path) -> list[str]:
    """The script as a module, without its folder on the path: its name is the library's."""
    return [str(environments.python_of(library)), "-P", "-m", f"training.peers.{library}", str(trial)]


def _call(arguments: list[str]) -> None:
    """Run; ConfigError with the last line of what the process said where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(environments.ROOT)}
    environment.setdefault("GOMP_SPINCOUNT", "3000")  # as for Twinscore's own training
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    if done.returncode < 0:
        raise ConfigError(f"ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        raise ConfigError(environments.last_line(done.stderr, f"ended with {done.returncode} and no word"))


def _read(folder: Path, row: Outcome, data: Exchange) -> Outcome:
    """The row with what result.json and predictions.npy say."""
    try:
        result = json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"no readable result: {error}") from None
    windows = [(int(rows), float(seconds)) for rows, seconds in result["windows"]]
    file = folder / "predictions.npy"
    predictions = np.load(file) if file.is_file() else None
    aucs = {} if predictions is None else _aucs(predictions, data)
    known = {name: result[name] for name in ("parameters", "versions", "note")}
    rate = rows_per_second(windows)
    return Outcome(
        **{**vars(row), **known, "auc": aucs, "windows": windows, "rows_per_second": rate, "predictions": predictions}
    )


def rows_per_second(windows: list[tuple[int, float]]) -> float | None:
    """The median window's, the first left out where there are more: it warms up."""
    rates = [rows / seconds for rows, seconds in windows[1:] or windows]
    return median(rates) if rates else None


def _aucs(predictions: NDArray[np.float32], data: Exchange) -> dict[str, float | None]:
    """Test AUC by task, by the same function that judges Twinscore's models."""
    labels = data.arrays["test/labels"]
    if predictions.shape != labels.shape:
        raise ConfigError(f"predictions are {predictions.shape} where test labels are {labels.shape}")
    if not np.isfinite(predictions).all():
        raise ConfigError("predictions are not numbers: training diverged")
    known = ~np.isnan(labels)
    return {task: auc(predictions[known[:, k], k], labels[known[:, k], k]) for k, task in enumerate(data.tasks)}
