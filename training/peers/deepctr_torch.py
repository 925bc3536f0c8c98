"""PLE and MMoE of DeepCTR-Torch by its `compile` and `fit`; run in its own environment, see trial.py.

Around the library: it validates at the end of an epoch alone, so each part of an epoch is a `fit` of one epoch on the
part's rows, and patience and best weights are counted here. L2 regularisation, 1e-5 on embeddings by default, is 0.
Progress and training metrics are off: it would compute them every step. Where rows do not count for a task the loss
leaves them out; where all count the loss is the library's. At import the library asks the package index for a newer
version of itself; without a network it goes on.
"""

import copy
from typing import Any

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat  # type: ignore[import-not-found]
from deepctr_torch.models import MMOE, PLE  # type: ignore[import-not-found]

from training.peers.trial import Array, Clock, Column, Trial, auc_of_known, known_loss, main

ONCE = 4096  # rows in an evaluation batch


def run(trial: Trial) -> None:
    """Train, then predict the test rows."""
    model, clock, random = _model(trial), Clock(), np.random.default_rng(trial.seed)
    inputs, labels = trial.split("train")
    masked = bool(np.isnan(labels).any())
    loss = known_loss if masked else ["binary_crossentropy"] * len(trial.tasks)
    model.compile(torch.optim.Adam(model.parameters(), lr=trial.sizes["learning_rate"]), loss)
    _train(trial, model, inputs, labels, clock, random)
    predictions = None if trial.steps else model.predict(_floats(trial.split("test")[0]), ONCE)
    trial.report("deepctr-torch", clock, sum(weight.numel() for weight in model.parameters()), predictions)


def _train(
    trial: Trial, model: Any, inputs: dict[str, Array], labels: Array, clock: Clock, random: np.random.Generator
) -> None:
    """Parts of epochs, until patience runs out; the best weights stay in the model."""
    inputs, validation = _floats(inputs), trial.split("validation")
    best, weights, stale = -np.inf, None, 0
    ends = [end * trial.batch_size for end in trial.part_ends(-(-len(labels) // trial.batch_size))]
    for _ in range(trial.epochs):
        for rows in np.split(random.permutation(len(labels)), ends[:-1]):
            with clock.window(len(rows)):
                chosen = {name: values[rows] for name, values in inputs.items()}
                model.fit(chosen, labels[rows], batch_size=trial.batch_size, epochs=1, verbose=0)
            if trial.steps:
                continue
            score = _score(trial, model, *validation)
            stale = 0 if score > best else stale + 1
            if score > best:
                best, weights = score, copy.deepcopy(model.state_dict())
            if stale >= trial.patience:
                break
        if stale >= trial.patience:
            break
    if weights is not None:
        model.load_state_dict(weights)


def _score(trial: Trial, model: Any, inputs: dict[str, Array], labels: Array) -> float:
    predicted = model.predict(_floats(inputs), ONCE)
    return trial.score([auc_of_known(labels[:, task], predicted[:, task]) for task in range(len(trial.tasks))])


def _floats(inputs: dict[str, Array]) -> dict[str, Array]:
    """The library joins all inputs into one matrix and casts it to float32 in any case."""
    return {name: values.astype(np.float32) for name, values in inputs.items()}


def _model(trial: Trial) -> Any:
    sizes = trial.sizes
    columns = [_column(column, sizes["embedding"]) for column in trial.columns]
    common = {
        "expert_dnn_hidden_units": sizes["expert_layers"],
        "gate_dnn_hidden_units": (),
        "tower_dnn_hidden_units": sizes["tower"],
        "dnn_dropout": sizes["dropout"],
        "l2_reg_embedding": 0,
        "l2_reg_linear": 0,
        "task_types": ["binary"] * len(trial.tasks),
        "task_names": list(trial.tasks),
        "seed": trial.seed,
    }
    if trial.model == "mmoe":
        return MMOE(columns, num_experts=sizes["experts"], **common)
    own, shared = sizes["experts"], sizes["shared_experts"]
    return PLE(columns, shared_expert_num=shared, specific_expert_num=own, num_levels=sizes["levels"], **common)


def _column(column: Column, width: int) -> Any:
    if column.kind == "numeric":
        return DenseFeat(column.name)
    sparse = SparseFeat(column.name, column.size, width)
    return VarLenSparseFeat(sparse, column.slots, combiner="mean") if column.kind == "multi" else sparse


if __name__ == "__main__":
    main(run)
