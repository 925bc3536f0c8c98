"""The ranking formula of an arm: a column `rank`, the product of tasks' scores, each to the power of an exponent."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigError
from service.experiments.config import Arm, Experiments
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
    for level, layer in enumerate(config.layers):
        for experiment in layer.experiments:
            for arm in experiment.arms:
                for reference in sorted(_scorers(config, level, arm)) if arm.ranking else ():
                    where = f"experiment '{experiment.key}', arm '{arm.name}': ranking: model '{reference}'"
                    _check(where, arm, set(compose(dict.fromkeys(models[reference].model.manifest.tasks, _NONE))))


_NONE = np.empty(0, np.float32)


def _scorers(config: Experiments, level: int, arm: Arm) -> set[str]:
    """Models that may score where this formula ranks: earlier layers' go first, later ones' where the arm has none."""
    others = config.layers[:level] if arm.model else config.layers[:level] + config.layers[level + 1 :]
    arms = (each for layer in others for experiment in layer.experiments for each in experiment.arms)
    return {each.model or config.default_model for each in (arm, *arms)}


def _check(where: str, arm: Arm, tasks: set[str]) -> None:
    if unknown := sorted(arm.ranking.keys() - tasks):
        raise ConfigError(f"{where} has no task '{unknown[0]}'; it has {', '.join(sorted(tasks))}")
    if RANK in tasks:
        raise ConfigError(f"{where} has a task of the name '{RANK}', which the formula's column takes")
