"""One trial of a library, as its own environment sees it: settings, data, clock, result.

Needs numpy, and what every library brings: torch, scikit-learn. The scripts beside this file run in environments that
hold a library and no Twinscore; this is all they share.

trial.json   settings, columns and tasks: `Trial`
data.npz     `<split>/<column>` and `<split>/labels` [n, tasks], NaN where a row does not count for a task
result.json  what `report` writes; predictions.npy beside it: probabilities of the test rows [n, tasks]
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Column:
    """One input. `kind`: categorical [n] ids, multi [n, slots] ids padded with 0, numeric [n] standardised."""

    name: str
    kind: str
    size: int = 0  # ids are in [0, size)
    slots: int = 1


@dataclass(frozen=True)
class Trial:
    """What to train, and how. A part is what is trained between two validations."""

    folder: Path
    model: str
    batch_size: int
    seed: int
    epochs: int
    parts: int  # an epoch
    patience: int  # validations without improvement
    steps: int | None  # throughput alone: so many steps, no evaluation
    sizes: dict[str, Any]
    columns: tuple[Column, ...]
    tasks: tuple[str, ...]
    selection: tuple[float, ...]  # weight of each task's AUC in the choice of the best weights
    workers: int = 0  # of a library's data loader, where it lets one choose
    zoo: str | None = None  # a folder with FuxiCTR's model zoo

    @classmethod
    def read(cls, path: Path) -> "Trial":
        """Read trial.json."""
        content = json.loads(path.read_bytes())
        content["columns"] = tuple(Column(**column) for column in content["columns"])
        content["tasks"], content["selection"] = tuple(content["tasks"]), tuple(content["selection"])
        return cls(folder=path.parent, **content)

    def split(self, name: str) -> tuple[dict[str, Array], Array]:
        """Inputs by column and labels [n, tasks] of a split; the train rows repeat up to `steps` batches."""
        with np.load(self.folder / "data.npz") as data:
            inputs, labels = {c.name: data[f"{name}/{c.name}"] for c in self.columns}, data[f"{name}/labels"]
        if name == "train" and self.steps:
            rows = np.arange(self.steps * self.batch_size) % len(labels)
            return {column: values[rows] for column, values in inputs.items()}, labels[rows]
        return inputs, labels

    def part_ends(self, steps: int) -> list[int]:
        """After which of an epoch's steps a part ends, from 1; the last is the last step."""
        return sorted({max(1, round(steps * (part + 1) / self.parts)) for part in range(self.parts)})

    def score(self, aucs: Sequence[float]) -> float:
        """Mean AUC over tasks, weighted by how well each is known; higher is better."""
        known = [(auc, weight) for auc, weight in zip(aucs, self.selection, strict=True) if weight > 0]
        return float(sum(auc * weight for auc, weight in known) / sum(weight for _, weight in known))

    def report(self, package: str, clock: "Clock", parameters: int, predictions: Array | None, note: str = "") -> None:
        """Write result.json and, where there are any, predictions.npy."""
        if predictions is not None:
            np.save(self.folder / "predictions.npy", np.asarray(predictions, np.float32))
        versions = {name: version(name) for name in (package, "torch")}
        result = {"versions": versions, "parameters": parameters, "windows": clock.windows, "note": note}
        (self.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


@dataclass
class Clock:
    """Rows and seconds of each stretch of training, loading included and evaluation left out."""

    windows: list[tuple[int, float]] = field(default_factory=list)

    @contextmanager
    def window(self, rows: int) -> Iterator[None]:
        """Time the block."""
        start = time.perf_counter()
        yield
        self.windows.append((rows, time.perf_counter() - start))


def auc_of_known(labels: Array, predictions: Array) -> float:
    """AUC over the rows whose label is known; NaN unless both classes are there."""
    from sklearn.metrics import roc_auc_score

    known = ~np.isnan(labels)
    both = len(np.unique(labels[known])) == 2
    return float(roc_auc_score(labels[known], predictions[known])) if both else float("nan")


def known_loss(predicted: Any, labels: Any, reduction: str = "mean") -> Any:
    """Cross entropy over the rows whose label is known, in the shape of a torch loss function."""
    from torch.nn.functional import binary_cross_entropy

    known = ~labels.isnan()
    total = binary_cross_entropy(predicted[known], labels[known], reduction="sum")
    return total if reduction == "sum" else total / known.sum().clamp(min=1)


def main(run: Callable[[Trial], None]) -> None:
    """Run the trial that the command line names."""
    run(Trial.read(Path(sys.argv[1])))
