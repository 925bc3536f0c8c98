"""The training loop: steps, validations inside the epoch, early stop, the best weights."""

import math
import time
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from contract.errors import ConfigError, DataError
from training.batches import Batch, Rows, delivered
from training.config import Recipe
from training.device import half_precision
from training.distributed import average_gradients, parallel, place, summed
from training.evaluation import evaluate, selection_score, told
from training.interruption import Interruption
from training.models import Ranker
from training.objective import Objective
from training.optimiser import Optimiser
from training.resume import Position, Saver, State, restore_random_states
from training.sharding import own, whole
from training.tracking import Tracker

LOOKED_AT = 1_000_000  # rows at most in which a label is looked for


@dataclass(frozen=True)
class Fitted:
    """The best weights that training met; `interrupted`: by Ctrl-C. Rows a second are without validations."""

    weights: dict[str, Tensor]
    steps: int
    score: float
    interrupted: bool = False
    rows_per_second: float = 0.0


def fit(
    model: Ranker,
    train: Rows,
    validation: Rows,
    recipe: Recipe,
    seed: int,
    console: Console,
    saver: Saver | None = None,
    resumed: State | None = None,
    tracker: Tracker | None = None,
) -> Fitted:
    """Train until the epochs end, patience runs out, or Ctrl-C; KeyboardInterrupt before the first validation.

    With a `saver` the state is kept on disk; training goes on from one that was `resumed`.
    """
    if not train.sample(LOOKED_AT).counted.any() or not validation.counted.any():
        raise DataError("the train or validation split has no labelled row; prepare more data or another split")
    run = _Run(model, train, validation, recipe, seed, console, saver, tracker)
    if resumed is not None:
        run.restore(resumed)
    try:
        with Interruption() as run.interruption, run.progress:
            run.fit()
    except KeyboardInterrupt:
        run.save()
        if run.position.best_steps is None:
            raise
        return run.result(interrupted=True)
    return run.result(interrupted=False)


class _Run:
    """One training run: the plain loop, and the best weights it met."""

    def __init__(
        self,
        model: Ranker,
        train: Rows,
        validation: Rows,
        recipe: Recipe,
        seed: int,
        console: Console,
        saver: Saver | None,
        tracker: Tracker | None,
    ) -> None:
        self.model, self.train, self.validation, self.recipe, self.seed = model, train, validation, recipe, seed
        self.console, self.saver, self.tracker = console, saver, tracker
        self.device = next(model.parameters()).device
        self.objective = Objective(model, recipe, half_precision(recipe.precision, self.device)).to(self.device)
        self.epoch_steps = train.steps(recipe.batch_size)
        self.optimiser = Optimiser(self.objective, recipe, self.epoch_steps * recipe.epochs)
        self.loss = parallel(self.objective) if self.objective.plain else self.objective
        if recipe.compile:
            if self.device.type != "cuda":
                raise ConfigError("compile: torch.compile is for --device cuda; leave it false")
            self.objective.compile()
        parts = recipe.validations_per_epoch
        self.due = {max(1, round(self.epoch_steps * (part + 1) / parts)) for part in range(parts)}
        self.position, self.best = Position(), dict[str, Tensor]()
        self.running = torch.zeros(len(model.tasks), device=self.device)  # losses since the last validation
        self.clock = time.perf_counter()
        self.interruption = Interruption()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console)

    def fit(self) -> None:
        """All epochs, or until validation has not improved for `patience` times."""
        total = self.epoch_steps * self.recipe.epochs
        bar = self.progress.add_task("steps", total=total, completed=self.position.steps)
        self.model.train()
        self.clock = time.perf_counter()
        if self._owes_validation():  # saved, or stopped, in the middle of one
            self._validate()
        while self.position.steps < total and self.position.stale < self.recipe.patience:
            epoch, skip = divmod(self.position.steps, self.epoch_steps)
            batches = self.train.epoch(self.recipe.batch_size, self.seed, epoch, skip)
            for batch in delivered(batches, self.train.device, self.device):
                with self.interruption.held():
                    self._step(batch)
                self.progress.update(bar, completed=self.position.steps)
                self.interruption.agree(self.position.steps)
                self._after_step()
                if self.position.stale >= self.recipe.patience:
                    self.console.print(f"stopped early: {self.position.stale} validations without improvement")
                    break
        self.progress.update(bar, total=self.position.steps)

    def save(self) -> None:
        """Keep the state on disk, if it is kept at all."""
        if self.saver is None:
            return
        self._stop_clock()
        parts = {
            "weights": whole(self.objective.state_dict(), self.objective),
            "best": whole(self.best, self.model),
            "optimiser": self.optimiser.state(),
            "running": {"losses": self.running},
        }
        self.saver.save(self.position, parts)
        self.clock = time.perf_counter()

    def restore(self, state: State) -> None:
        """Go on where the state was saved."""
        self.position, self.best = state.position, own(state.part("best"), self.model)
        try:
            self.objective.load_state_dict(own(state.part("weights"), self.objective))
        except RuntimeError:
            raise ConfigError("the state to resume has other weights than the model; train without --resume") from None
        self.optimiser.load_state(state.part("optimiser"))
        self.running.copy_(state.part("running")["losses"])
        restore_random_states(state.part("random"))

    def result(self, interrupted: bool) -> Fitted:
        """What to keep."""
        at = self.position
        if at.best_steps is None or at.best_score is None:
            raise ConfigError("training diverged: the outputs are not numbers; lower learning_rate")
        epochs, steps = divmod(at.steps, self.epoch_steps)
        rows = epochs * len(self.train) + min(steps * self.recipe.batch_size, len(self.train))
        return Fitted(self.best, at.best_steps, at.best_score, interrupted, rows / max(at.seconds, 1e-9))

    def _step(self, batch: Batch) -> None:
        self.optimiser.start(self.position.steps)
        sums, counts = self.loss(*batch.inputs, batch.labels, batch.counted)
        losses = place().world * sums / summed(counts).clamp(min=1)  # their mean over processes is the mean over rows
        self.model.backward(self.objective.weighting(losses, self.position.steps / self.epoch_steps))
        if not self.objective.plain:
            average_gradients(self.objective.parameters())
        self.optimiser.step(self.position.steps)
        self.running += losses.detach()
        self.position.steps += 1

    def _after_step(self) -> None:
        if self._owes_validation():
            self._validate()
            self.save()
        elif self.saver is not None and self.position.steps % self.saver.every == 0:
            self.save()

    def _owes_validation(self) -> bool:
        steps = self.position.steps
        return steps > self.position.validated and (steps - 1) % self.epoch_steps + 1 in self.due

    def _validate(self) -> None:
        self._stop_clock()
        metrics = evaluate(self.model, self.validation)
        self.model.train()
        score, at = selection_score(metrics), self.position
        improved = math.isfinite(score) and (at.best_score is None or score > at.best_score)
        losses = (summed(self.running) / place().world / (at.steps - at.validated)).tolist()
        with self.interruption.held():
            if improved:
                self.best = {name: weight.detach().clone() for name, weight in self.model.state_dict().items()}
                at.best_steps, at.best_score = at.steps, score
            at.stale, at.validated = 0 if improved else at.stale + 1, at.steps
            self.running.zero_()
        epoch = f"epoch {at.steps / self.epoch_steps:.1f}"
        self.console.print(f"{epoch}: validation {told(metrics)}{', best' * improved}", soft_wrap=True)
        if self.tracker is not None:
            trained = {f"train/{task}/loss": loss for task, loss in zip(self.model.tasks, losses, strict=True)}
            self.tracker.validated(at.steps, metrics, trained | {"learning_rate": self.optimiser.learning_rate})
        self.clock = time.perf_counter()

    def _stop_clock(self) -> None:
        """Count the time of training until now."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.position.seconds += now - self.clock
        self.clock = now
