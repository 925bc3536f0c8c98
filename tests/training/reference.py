"""Layers in plain numpy, to write models' equations with, and a model with the vectors it is to score."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contract.schema import Task
from tests.training import tiny
from training.models import MODELS, Ranker, build_model
from training.models.experts import Experts, StackedLinear
from training.models.features import GatheredFeatures
from training.models.towers import Tower

Floats = NDArray[np.float32]
ROWS = 6


def build(name: str, tasks: Sequence[Task], **settings: object) -> Ranker:
    """A model in evaluation, whose fields have vectors of width 4 a slice unless told."""
    torch.manual_seed(0)
    chosen = MODELS[name].settings.model_validate({"embedding": 4, **settings})
    return build_model(name, tiny.schema(tasks=tasks), chosen).eval()


def sample(model: Ranker, width: int = 4) -> Tensor:
    """Vectors [ROWS, fields, width]."""
    return torch.randn(ROWS, len(model.field_names), width, generator=torch.Generator().manual_seed(1))


def scored(model: Ranker, vectors: Tensor) -> Floats:
    """Raw outputs."""
    return numbers(model.score(GatheredFeatures(vectors, torch.zeros(len(vectors), 0))))


def numbers(tensor: Tensor) -> Floats:
    """A tensor as numpy."""
    result: Floats = tensor.detach().numpy()
    return result


def linear(layer: Any, x: Floats) -> Floats:
    """W x + b."""
    assert isinstance(layer, nn.Linear)
    product: Floats = x @ numbers(layer.weight).T + numbers(layer.bias)
    return product


def experts(group: Any, x: Floats) -> list[Floats]:
    """Outputs of each expert [N, width], one network after the other."""
    assert isinstance(group, Experts)
    first = np.split(linear(group.first, x), group.count, axis=1)
    return [deeper(group, e, np.maximum(product, 0)) for e, product in enumerate(first)]


def deeper(group: Experts, expert: int, hidden: Floats) -> Floats:
    """What one expert's later layers make of its first."""
    for layer in group.deeper:
        assert isinstance(layer, StackedLinear)
        hidden = np.maximum(hidden @ numbers(layer.weight)[expert] + numbers(layer.bias)[expert], 0)
    return hidden


def tower(module: Any, x: Floats) -> Floats:
    """Raw outputs of a tower of one hidden layer."""
    assert isinstance(module, Tower)
    (hidden,) = (layer for layer in module.hidden.modules() if isinstance(layer, nn.Linear))
    return linear(module.head, np.maximum(linear(hidden, x), 0))


def softmax(scores: Floats) -> Floats:
    """Over the last axis."""
    exponentials = np.exp(scores)
    result: Floats = exponentials / exponentials.sum(-1, keepdims=True)
    return result


def mixed(scores: Floats, outputs: Sequence[Floats]) -> Floats:
    """sum_i softmax(scores)_i outputs_i, row by row."""
    shares = softmax(scores)
    rows = [sum(shares[n, i] * output[n] for i, output in enumerate(outputs)) for n in range(len(scores))]
    return np.stack(rows)


def sigmoid(x: Floats) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), in double precision."""
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))), np.float64)
