"""One training run on data that are loaded once: what it reached on the test rows, and what it cost."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field as Attribute
from rich.console import Console

from contract.errors import ConfigError, TwinscoreError
from contract.files import whole_file, write_text
from contract.schema import Strict
from training.batches import Batch
from training.benchmark.cost import Tick, multiply_accumulates, parameters, stepping, table_parameters
from training.benchmark.plan import parse_result
from training.benchmark.targets import Target, targets
from training.calibration import calibrate
from training.config import Recipe
from training.datasets.prepared import SPLITS, Prepared, SplitName
from training.evaluation import predict, scores
from training.fit import Fitted, fit
from training.models import Ranker, build_model
from training.train import MEASURED

Scores = NDArray[np.float32]
QUIET = Console(quiet=True)


class Outcome(Strict):
    """A finished run; `error`: it failed, and why, and nothing else is known. Metrics by target of the test split."""

    entry: str
    recipe: dict[str, Any]
    seed: int
    error: str | None = None
    score: float | None = None  # of selection, on validation
    steps: int = 0
    seconds: float = 0.0
    rows_per_second: float | None = None
    parameters: int | None = None
    table_parameters: int | None = None
    macs: float | None = None
    metrics: dict[str, dict[str, float | None]] = Attribute(default_factory=dict)
    share: dict[str, float | None] = Attribute(default_factory=dict)  # of the oracle's lift


@dataclass(frozen=True)
class Arena:
    """The data of all runs, on one device."""

    data: Prepared
    device: torch.device
    splits: dict[SplitName, Batch]
    targets: list[Target]

    @classmethod
    def load(cls, data: Prepared, device: torch.device) -> Self:
        """All splits in memory; the targets are those of the test split."""
        matrices = {split: data.matrices(split) for split in SPLITS}
        splits = {split: Batch.of(matrices[split], data.schema, device) for split in SPLITS}
        return cls(data, device, splits, targets(data.schema, matrices["test"], splits["test"]))

    def fitted(self, model_name: str, recipe: Recipe, seed: int, tick: Tick) -> tuple[Ranker, Fitted]:
        """A model trained as `train` does, with its best weights; KeyboardInterrupt where somebody stopped it."""
        torch.manual_seed(seed)
        model = build_model(model_name, self.data.schema, recipe.model).to(self.device)
        seen = self.splits["train"].sample(MEASURED)
        model.measure(seen.request_dense, seen.item_dense, seen.labels, seen.counted)
        with stepping(tick):
            fitted = fit(model, self.splits["train"], self.splits["validation"], recipe, seed, QUIET)
        if fitted.interrupted:
            raise KeyboardInterrupt
        model.load_state_dict(fitted.weights)
        return model, fitted

    def run(self, entry: str, model_name: str, recipe: Recipe, seed: int, tick: Tick) -> tuple[Outcome, Scores]:
        """Train, calibrate, predict the test rows [n, tasks]."""
        started = perf_counter()
        model, fitted = self.fitted(model_name, recipe, seed, tick)
        calibrate(model, self.splits["validation"])
        found = self.scores(model)
        return Outcome(
            entry=entry,
            recipe=recipe.model_dump(mode="json"),
            seed=seed,
            score=fitted.score,
            steps=fitted.steps,
            seconds=perf_counter() - started,
            rows_per_second=fitted.rows_per_second,
            parameters=parameters(model),
            table_parameters=table_parameters(model),
            macs=multiply_accumulates(model, self.splits["test"]),
            metrics={target.name: dict(target.metrics(found)) for target in self.targets},
            share={target.name: target.share(found) for target in self.targets},
        ), found

    def scores(self, model: Ranker) -> Scores:
        """Log odds or values of the test rows, [n, tasks]."""
        raw = predict(model, self.splits["test"])
        return np.stack([scores(model, k, raw) for k in range(len(model.tasks))], axis=1)


def told(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, TwinscoreError) else f"{type(error).__name__}: {text}"


def write_outcome(folder: Path, outcome: Outcome, found: Scores | None) -> None:
    """Predictions first: an outcome that is there is whole."""
    file = _file(folder, outcome.entry, outcome.seed)
    if found is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file.with_suffix(".npy")) as temporary, temporary.open("wb") as stream:
            np.save(stream, found)
    write_text(file, outcome.model_dump_json(indent=1) + "\n")


def read_outcome(folder: Path, entry: str, seed: int) -> Outcome | None:
    """None where that run has not ended."""
    file = _file(folder, entry, seed)
    return parse_result(Outcome, file) if file.is_file() else None


def read_scores(folder: Path, outcome: Outcome) -> Scores:
    """Its predictions of the test rows, [n, tasks]."""
    file = _file(folder, outcome.entry, outcome.seed).with_suffix(".npy")
    try:
        found: Scores = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: cannot be read ({error}); remove {file.with_suffix('.json')} to run it again"
        ) from None
    return found


def _file(folder: Path, entry: str, seed: int) -> Path:
    return folder / entry / f"{seed}.json"
