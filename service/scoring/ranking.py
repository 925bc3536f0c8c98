"""The ranking formula of an arm: a column `rank`, the product of tasks' scores, each to the power of an exponent."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigError
from service.experiments.assignment import Assignment, Variant
from service.experiments.config import Experiments
from service.scoring.composition import compose
from service.scoring.engine import Scores
from service.scoring.registry import Served

RANK = "rank"
_LEAST, _MOST = np.finfo(np.float32).tiny, np.finfo(np.float32).max


def rank(scores: Scores, exponents: Mapping[str, float]) -> NDArray[np.float32]:
    """The column, [N]: 0 where a score of 0 (or less, of a continuous task) has a positive exponent; never infinite.

    Computed in float64; under a negative exponent a score counts as the least normal float32 at least.
    """
    column = np.ones(len(next(iter(scores.values()))))
    for task, exponent in exponents.items():
        base = np.maximum(scores[task], np.float32(0) if exponent >= 0 else _LEAST).astype(np.float64)
        with np.errstate(over="ignore"):  # 1e-38 ** -10; bounded in the same breath
            column *= np.minimum(base**exponent, _MOST)
        np.minimum(column, _MOST, out=column)
    return column.astype(np.float32)


def check_ranking(config: Experiments, models: Mapping[str, Served]) -> None:
    """ConfigError, naming the arm, where a formula has a task that a model lacks which may score for it."""
    assignment = Assignment(config)
    for level, layer in enumerate(assignment.layers):
        for variant in (variant for route in layer.routes for variant in route.variants.values()):
            if not variant.arm.ranking:
                continue
            for reference in sorted(_scorers(assignment, level, variant)):
                _check(variant, reference, set(compose(dict.fromkeys(_tasks(models[reference]), _NONE))))


_NONE = np.empty(0, np.float32)


def _tasks(served: Served) -> list[str]:
    return list(served.model.manifest.tasks)


def _scorers(assignment: Assignment, level: int, variant: Variant) -> Iterator[str]:
    """Models that may score where this formula ranks: earlier layers' go first, later ones' where the arm has none."""
    default = assignment.config.default_model
    others = (
        assignment.layers[:level] if variant.arm.model else assignment.layers[:level] + assignment.layers[level + 1 :]
    )
    yield variant.arm.model or default
    for layer in others:
        yield from (each.model for route in layer.routes for each in route.variants.values())


def _check(variant: Variant, reference: str, tasks: set[str]) -> None:
    where = f"experiment '{variant.experiment.key}', arm '{variant.arm.name}': ranking"
    if unknown := sorted(variant.arm.ranking.keys() - tasks):
        known = ", ".join(sorted(tasks))
        raise ConfigError(f"{where}: model '{reference}' has no task '{unknown[0]}'; it has {known}")
    if RANK in tasks:
        raise ConfigError(
            f"{where}: model '{reference}' has a task of the name '{RANK}', which the formula's column has"
        )
