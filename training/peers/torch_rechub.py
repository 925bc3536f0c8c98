"""PLE and MMoE of torch-rechub by its MTLTrainer and DataGenerator; run in its own environment, see trial.py.

Around the library: a part of an epoch is handed to the trainer as an epoch, so that it validates and counts patience as
often as the others; its stopping score is the weighted mean AUC of all tasks, not one task's; the best weights are
loaded also where the epochs ran out (it keeps the last ones then); weight decay, 1e-5 in its trainer, is 0. Its MLPs
have batch normalisation, gates included, which cannot be switched off. Where rows do not count for a task its loss
leaves them out; where all count the loss is the library's.
"""

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch_rechub.basic.features import (  # type: ignore[import-not-found]
    DenseFeature,
    SequenceFeature,
    SparseFeature,
)
from torch_rechub.models.multi_task import MMOE, PLE  # type: ignore[import-not-found]
from torch_rechub.trainers import MTLTrainer  # type: ignore[import-not-found]
from torch_rechub.utils.data import DataGenerator, PredictDataset  # type: ignore[import-not-found]

from training.peers.trial import Clock, Column, Trial, auc_of_known, known_loss, main

ONCE = 4096  # rows in an evaluation batch


class Parts:
    """A loader whose every iteration is the next part of an epoch."""

    def __init__(self, loader: Any, ends: list[int]) -> None:
        self.loader, self.lengths = loader, [end - start for start, end in pairwise([0, *ends])]
        self.part, self.batches = 0, iter(())

    def __iter__(self) -> Iterator[Any]:
        if self.part == 0:
            self.batches = iter(self.loader)
        yield from islice(self.batches, self.lengths[self.part])
        self.part = (self.part + 1) % len(self.lengths)


class Trainer(MTLTrainer):  # type: ignore[misc]
    """The library's trainer, timed, and stopped by the trial's score."""

    def __init__(self, trial: Trial, model: torch.nn.Module, rows: int) -> None:
        super().__init__(
            model,
            ["classification"] * len(trial.tasks),
            optimizer_params={"lr": trial.sizes["learning_rate"]},
            n_epoch=trial.epochs * trial.parts,
            earlystop_patience=trial.epochs * trial.parts + 1 if trial.steps else trial.patience,
            model_path=str(trial.folder),
        )
        self.trial, self.clock, self.rows = trial, Clock(), rows
        self.evaluate_fns = [auc_of_known] * len(trial.tasks)

    def train_one_epoch(self, data_loader: Parts) -> Any:
        start = sum(data_loader.lengths[: data_loader.part])
        end = start + data_loader.lengths[data_loader.part]
        rows = min(end * self.trial.batch_size, self.rows) - start * self.trial.batch_size
        with self.clock.window(rows):
            return super().train_one_epoch(data_loader)

    def evaluate(self, model: torch.nn.Module, data_loader: Any) -> list[float]:
        score = 0.0 if self.trial.steps else self.trial.score(super().evaluate(model, data_loader))
        return [score] * len(self.trial.tasks)


def run(trial: Trial) -> None:
    """Train, then predict the test rows."""
    torch.manual_seed(trial.seed)
    inputs, labels = trial.split("train")
    loaders = DataGenerator(inputs, labels).generate_dataloader(
        *trial.split("validation"), *trial.split("test"), batch_size=trial.batch_size, num_workers=trial.workers
    )
    trainer = Trainer(trial, _model(trial), len(labels))
    if np.isnan(labels).any():
        trainer.loss_fns = [known_loss] * len(trial.tasks)
    trainer.fit(Parts(loaders[0], trial.part_ends(len(loaders[0]))), loaders[1])
    if trainer.early_stopper.best_weights is not None:
        trainer.model.load_state_dict(trainer.early_stopper.best_weights)
    test = DataLoader(PredictDataset(trial.split("test")[0]), batch_size=ONCE)
    predictions = None if trial.steps else np.array(trainer.predict(trainer.model, test))
    parameters = sum(weight.numel() for weight in trainer.model.parameters())
    trial.report("torch-rechub", trainer.clock, parameters, predictions)


def _model(trial: Trial) -> torch.nn.Module:
    sizes, types = trial.sizes, ["classification"] * len(trial.tasks)
    features = [_feature(column, sizes["embedding"]) for column in trial.columns]
    experts = {"dims": sizes["expert_layers"], "activation": "relu", "dropout": sizes["dropout"]}
    towers = [{**experts, "dims": sizes["tower"]} for _ in types]
    model: torch.nn.Module
    if trial.model == "mmoe":
        model = MMOE(features, types, sizes["experts"], experts, towers)
    else:
        model = PLE(features, types, sizes["levels"], sizes["experts"], sizes["shared_experts"], experts, towers)
    return model


def _feature(column: Column, width: int) -> Any:
    if column.kind == "numeric":
        return DenseFeature(column.name)
    if column.kind == "multi":
        return SequenceFeature(column.name, column.size, width, pooling="mean", padding_idx=0)
    return SparseFeature(column.name, column.size, width)


if __name__ == "__main__":
    main(run)
