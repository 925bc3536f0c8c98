"""The training loop: steps, validations inside the epoch, early stop, the best weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from contract.errors import ConfigError, DataError
from training.batches import Batch
from training.config import Recipe
from training.evaluation import evaluate, selection_score
from training.models import Ranker
from training.report import shown_number

TABLES = ("table.weight",)  # looked up by id: they take `table_decay`


@dataclass(frozen=True)
class Fitted:
    """The best weights that training met; `interrupted`: by Ctrl-C."""

    weights: dict[str, Tensor]
    steps: int
    score: float
    interrupted: bool = False


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
        raw = self.model.raw(*batch.inputs)
        sums, counts = self.model.losses(raw, batch.labels, batch.counted)
        self.model.backward(self.weights * sums / counts.clamp(min=1))
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
