"""Train on a prepared data set, stop early, keep the best weights, report.

The data are held in memory whole. Ctrl-C keeps the best so far; before the first validation nothing is written.
"""

import argparse
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from contract.errors import ConfigError, DataError
from training.batches import Batch
from training.checkpoint import check_out, describe, save_checkpoint
from training.config import Recipe, read_recipe
from training.datasets.prepared import SPLITS, Prepared
from training.losses import joint_loss
from training.metrics import TaskMetrics, task_metrics
from training.models import MODELS, Ranker, build_model
from training.report import metrics_table, shown_number

SCORED_AT_ONCE = 8192  # rows in a forward pass without gradients
TABLES = ("table.weight", "codes.weight")  # looked up by id: they take `table_decay`


@dataclass(frozen=True)
class Fitted:
    """The best weights that training met; `interrupted`: by Ctrl-C."""

    weights: dict[str, Tensor]
    steps: int
    score: float
    interrupted: bool = False


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
    model.measure(splits["train"].request_dense, splits["train"].item_dense)
    fitted = fit(model, splits["train"], splits["validation"], recipe, seed, console)
    model.load_state_dict(fitted.weights)
    metrics = {split: evaluate(model, splits[split]) for split in ("validation", "test")}
    config = describe(model_name, recipe, seed, device.type, data, fitted.steps, fitted.interrupted)
    save_checkpoint(out, fitted.weights, config, data, matrices["validation"], metrics)
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


def fit(model: Ranker, train: Batch, validation: Batch, recipe: Recipe, seed: int, console: Console) -> Fitted:
    """Train until the epochs end, patience runs out, or Ctrl-C; KeyboardInterrupt before the first validation."""
    if not train.counted.any() or not validation.counted.any():
        raise DataError("the train or validation split has no labelled row; prepare more data or another split")
    run = _Run(model, train, validation, recipe, seed, console)
    try:
        with run.progress:
            run.fit()
    except KeyboardInterrupt:
        if run.best is None:
            raise
        return Fitted(run.best.weights, run.best.steps, run.best.score, interrupted=True)
    if run.best is None:
        raise ConfigError("training diverged: the outputs are not numbers; lower learning_rate")
    return run.best


class _Run:
    """One training run: the plain loop, and the best weights it met."""

    def __init__(
        self, model: Ranker, train: Batch, validation: Batch, recipe: Recipe, seed: int, console: Console
    ) -> None:
        self.model, self.train, self.validation, self.recipe, self.console = model, train, validation, recipe, console
        self.generator = torch.Generator().manual_seed(seed)
        self.optimiser = optimiser(model, recipe)
        self.weights = task_weights(model.tasks, recipe.task_weights).to(train.labels.device)
        self.epoch_steps = math.ceil(len(train) / recipe.batch_size)
        parts = recipe.validations_per_epoch
        self.due = {max(1, round(self.epoch_steps * (part + 1) / parts)) for part in range(parts)}
        self.best: Fitted | None = None
        self.steps = self.stale = 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console)

    def fit(self) -> None:
        """All epochs, or until validation has not improved for `patience` times."""
        bar = self.progress.add_task("steps", total=self.epoch_steps * self.recipe.epochs)
        for _ in range(self.recipe.epochs):
            batches = self.train.shuffled(self.recipe.batch_size, self.generator)
            for step_of_epoch, batch in enumerate(batches, start=1):
                self._step(batch)
                self.progress.update(bar, completed=self.steps)
                if step_of_epoch in self.due:
                    self._validate()
                if self.stale >= self.recipe.patience:
                    self.progress.update(bar, total=self.steps)
                    self.console.print(f"stopped early: {self.stale} validations without improvement")
                    return

    def _step(self, batch: Batch) -> None:
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        loss = joint_loss(self.model.logits(*batch.inputs), batch.labels, batch.counted, self.weights)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimiser.step()
        self.steps += 1

    def _validate(self) -> None:
        metrics = evaluate(self.model, self.validation)
        score = selection_score(metrics)
        improved = math.isfinite(score) and (self.best is None or score > self.best.score)
        if improved:
            weights = {name: weight.detach().clone() for name, weight in self.model.state_dict().items()}
            self.best = Fitted(weights, self.steps, score)
        self.stale = 0 if improved else self.stale + 1
        told = ", ".join(
            f"{name} {shown_number(m['auc'])} ({shown_number(m['log_loss'])})" for name, m in metrics.items()
        )
        epoch = f"epoch {self.steps / self.epoch_steps:.1f}"
        self.console.print(f"{epoch}: validation AUC (log loss) {told}{', best' * improved}", soft_wrap=True)


def optimiser(model: Ranker, recipe: Recipe) -> torch.optim.Optimizer:
    """Fused AdamW; weights that are looked up by id decay at their own rate."""
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if name.endswith(TABLES)], "weight_decay": recipe.table_decay},
        {"params": [p for name, p in named if not name.endswith(TABLES)], "weight_decay": recipe.weight_decay},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def task_weights(tasks: tuple[str, ...], named: Mapping[str, float]) -> Tensor:
    """Weights of the loss in task order; ConfigError for a task that is not there."""
    if unknown := [name for name in named if name not in tasks]:
        raise ConfigError(f"task_weights: '{unknown[0]}' is not one of the tasks {', '.join(tasks)}")
    return torch.tensor([named.get(task, 1.0) for task in tasks])


def evaluate(model: Ranker, split: Batch) -> dict[str, TaskMetrics]:
    """Metrics by task; log loss is NaN where the model diverged."""
    logits, labels, counted = predict(model, split), split.labels.cpu().numpy(), split.counted.cpu().numpy() > 0
    return {task: task_metrics(logits[:, k], labels[:, k], counted[:, k]) for k, task in enumerate(model.tasks)}


def predict(model: Ranker, split: Batch) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """Logits [n, tasks]."""
    model.eval()
    with torch.inference_mode():
        parts = [model.logits(*batch.inputs) for batch in split.in_order(SCORED_AT_ONCE)]
        return torch.cat([split.labels[:0], *parts]).cpu().numpy()


def selection_score(metrics: Mapping[str, TaskMetrics]) -> float:
    """Higher is better: mean AUC over the tasks that have one; minus the mean log loss if none has; NaN if diverged.

    A task weighs by how well its AUC is known, the inverse of the variance of a Mann-Whitney AUC, so that a handful of
    conversions does not choose the weights.
    """
    losses = [m["log_loss"] for m in metrics.values() if m["log_loss"] is not None]
    aucs = [(m["auc"], _precision(m["positives"], m["rows"])) for m in metrics.values() if m["auc"] is not None]
    if not losses or not all(map(math.isfinite, losses)):
        return math.nan
    if not aucs:
        return -sum(losses) / len(losses)
    return sum(auc * weight for auc, weight in aucs) / sum(weight for _, weight in aucs)


def _precision(positives: int, rows: int) -> float:
    """1 / variance of an AUC of scores that say nothing: 12 P N / (P + N + 1)."""
    return 12 * positives * (rows - positives) / (rows + 1)
