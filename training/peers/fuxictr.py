"""PLE and MMoE of FuxiCTR by its MultiTaskModel.fit and RankDataLoader (npz); run in its own environment, see trial.py.

FuxiCTR's package holds layers, trainer and loaders; its PLE and MMoE live in the `model_zoo` of its repository alone.
With `--fuxictr-zoo` they come from there. Without, they are put together here from the package's blocks: MMoE is one
level of shared experts. The row says which.

Around the library: the score that stops is the weighted mean AUC of all tasks, over rows whose label is known; where
rows do not count for a task its loss leaves them out. Its trainer validates inside the epoch, keeps the best weights,
clips gradients and divides the learning rate by ten where validation does not improve: all as it comes.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap  # type: ignore[import-not-found]
from fuxictr.pytorch.dataloaders import RankDataLoader  # type: ignore[import-not-found]
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block  # type: ignore[import-not-found]
from fuxictr.pytorch.models import MultiTaskModel  # type: ignore[import-not-found]
from fuxictr.pytorch.torch_utils import seed_everything  # type: ignore[import-not-found]
from torch import Tensor, nn

from training.peers.trial import Array, Clock, Column, Trial, auc_of_known, known_loss, main

SPLITS = {"train": "train", "validation": "valid", "test": "test"}


class Level(nn.Module):
    """Experts and gates of one level: inputs a task and the shared one → a mixture a task, and of all unless last."""

    def __init__(self, inputs: int, tasks: int, own: int, shared: int, block: Callable[..., Any], last: bool) -> None:
        super().__init__()
        self.own = nn.ModuleList(nn.ModuleList(block(input_dim=inputs) for _ in range(own)) for _ in range(tasks))
        self.shared = nn.ModuleList(block(input_dim=inputs) for _ in range(shared))
        choices = [own + shared] * tasks + [own * tasks + shared] * (not last)
        self.gates = nn.ModuleList(MLP_Block(input_dim=inputs, output_dim=count) for count in choices)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        shared = [expert(inputs[-1]) for expert in self.shared]
        groups: list[Any] = list(self.own)
        own = [[expert(x) for expert in experts] for x, experts in zip(inputs[:-1], groups, strict=True)]
        choices = [[*group, *shared] for group in own] + [[*(y for group in own for y in group), *shared]]
        mixed = zip(self.gates, inputs, choices, strict=False)  # the last level has no gate of all
        return [(gate(x).softmax(1).unsqueeze(2) * torch.stack(chosen, 1)).sum(1) for gate, x, chosen in mixed]


class FromBlocks(MultiTaskModel):  # type: ignore[misc]
    """PLE, or MMoE as its one level without own experts, from the package's embedding and MLP blocks."""

    def __init__(self, feature_map: Any, **given: Any) -> None:
        super().__init__(feature_map, **given)
        layers, dropout, tasks = given["expert_hidden_units"], given["net_dropout"], given["num_tasks"]
        self.embedding_layer = FeatureEmbedding(feature_map, given["embedding_dim"])
        inputs = [given["embedding_dim"] * feature_map.num_fields] + layers[-1:] * given["num_layers"]
        block = partial(MLP_Block, hidden_units=layers, dropout_rates=dropout)
        own, shared, depth = given["num_specific_experts"], given["num_shared_experts"], given["num_layers"]
        self.levels = nn.ModuleList(
            Level(inputs[j], tasks, own, shared, block, last=j == depth - 1) for j in range(depth)
        )
        tower = partial(MLP_Block, hidden_units=given["tower_hidden_units"], dropout_rates=dropout, output_dim=1)
        self.towers = nn.ModuleList(tower(input_dim=inputs[-1]) for _ in range(tasks))
        self.compile(given["optimizer"], given["loss"], given["learning_rate"])
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.embedding_layer(self.get_inputs(inputs)).flatten(1)
        mixed = [x] * (self.num_tasks + 1)
        for level in self.levels:
            mixed = level(mixed)
        outputs = zip(self.feature_map.labels, self.towers, self.output_activation, mixed, strict=False)
        return {f"{label}_pred": activation(tower(x)) for label, tower, activation, x in outputs}


def timed(model: type[Any]) -> type[Any]:
    """The model class, with a clock between evaluations and the trial's score."""

    class Timed(model):  # type: ignore[misc]
        trial: Trial
        clock: Clock
        rows = 0
        since = 0.0

        def train_step(self, batch_data: dict[str, Tensor]) -> Tensor:
            self.rows += len(batch_data[self.feature_map.labels[0]])
            loss: Tensor = super().train_step(batch_data)
            return loss

        def lap(self) -> None:
            """End a window, if any row was trained on in it."""
            if self.rows:
                self.clock.windows.append((self.rows, time.perf_counter() - self.since))
            self.rows = 0

        def eval_step(self) -> None:
            self.lap()
            if not self.trial.steps:
                super().eval_step()
            self.since = time.perf_counter()

        def evaluate(self, data_generator: Any, metrics: Sequence[str] | None = None) -> dict[str, float]:
            logs: dict[str, float] = super().evaluate(data_generator, metrics)
            logs["AUC"] = self.trial.score([logs[f"{label}_AUC"] for label in self.feature_map.labels])
            return logs

        def evaluate_metrics(self, y_true: Array, y_pred: Array, *_: Any) -> dict[str, float]:
            return {"AUC": auc_of_known(y_true, y_pred)}

    return Timed


def run(trial: Trial) -> None:
    """Train, then predict the test rows."""
    seed_everything(trial.seed)
    labels = [f"y{task}" for task in range(len(trial.tasks))]
    masked = _write(trial, labels)
    params, kind = _params(trial), _class(trial)
    feature_map = FeatureMap("trial", str(trial.folder))
    feature_map.load(str(trial.folder / "feature_map.json"), params)
    model = timed(kind)(feature_map, **params)
    model.trial, model.clock = trial, Clock()
    if masked:
        model.loss_fn = [known_loss] * len(labels)
    train, validation = RankDataLoader(feature_map, stage="train", **params)
    model._eval_steps = -(-len(train) // trial.parts)
    Path(model.model_dir).mkdir(parents=True, exist_ok=True)
    model.save_weights(model.checkpoint)  # `fit` loads it in any case
    model.since = time.perf_counter()
    model.fit(train, validation_data=validation, epochs=trial.epochs)
    model.lap()
    predictions = None if trial.steps else model.predict(RankDataLoader(feature_map, stage="test", **params))
    columns = None if predictions is None else np.stack([predictions[label] for label in labels], axis=1)
    note = "its model zoo" if trial.zoo else "from its blocks"
    trial.report("fuxictr", model.clock, sum(weight.numel() for weight in model.parameters()), columns, note)


def _class(trial: Trial) -> type[Any]:
    if trial.zoo is None:
        return FromBlocks
    name = {"ple": "PLE", "mmoe": "MMoE"}[trial.model]
    sys.path.append(str(Path(trial.zoo) / name))
    found: type[Any] = getattr(__import__(f"src.{name}", fromlist=[name]), name)
    return found


def _write(trial: Trial, labels: list[str]) -> bool:
    """The files that the library's loader reads, and whether any label is unknown."""
    masked = False
    for split, name in SPLITS.items():
        inputs, known = trial.split(split)
        masked = masked or bool(np.isnan(known).any())
        columns: dict[str, Any] = {**inputs, **dict(zip(labels, known.T, strict=True))}
        np.savez(trial.folder / f"{name}.npz", **columns)
    features = [{column.name: _spec(column)} for column in trial.columns]
    content = {"dataset_id": "trial", "labels": labels, "features": features}
    (trial.folder / "feature_map.json").write_text(json.dumps(content), encoding="utf-8")
    return masked


def _spec(column: Column) -> dict[str, Any]:
    if column.kind == "numeric":
        return {"source": "", "type": "numeric"}
    if column.kind == "multi":
        pooling = {"feature_encoder": "layers.MaskedAveragePooling()", "max_len": column.slots, "padding_idx": 0}
        return {"source": "", "type": "sequence", "vocab_size": column.size, **pooling}
    return {"source": "", "type": "categorical", "vocab_size": column.size}


def _params(trial: Trial) -> dict[str, Any]:
    """Keys of the library's model_config.yaml."""
    sizes, count = trial.sizes, len(trial.tasks)
    ple = trial.model == "ple"
    return {
        "model_root": str(trial.folder),
        "model_id": trial.model,
        "verbose": 0,
        "metrics": ["AUC"],
        "task": ["binary_classification"] * count,
        "num_tasks": count,
        "loss": ["binary_crossentropy"] * count,
        "optimizer": "adam",
        "learning_rate": sizes["learning_rate"],
        "embedding_dim": sizes["embedding"],
        "num_layers": sizes["levels"] if ple else 1,
        "num_shared_experts": sizes["shared_experts" if ple else "experts"],
        "num_specific_experts": sizes["experts"] if ple else 0,
        "num_experts": sizes["experts"],
        "expert_hidden_units": sizes["expert_layers"],
        "gate_hidden_units": [],
        "tower_hidden_units": sizes["tower"],
        "net_dropout": sizes["dropout"],
        "early_stop_patience": trial.patience,
        "batch_size": trial.batch_size,
        "num_workers": trial.workers,
        "data_format": "npz",
        **{f"{name}_data": str(trial.folder / f"{name}.npz") for name in SPLITS.values()},
    }


if __name__ == "__main__":
    main(run)
