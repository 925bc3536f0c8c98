"""Tune a model: the same number of trials and the same space for each, by the selection score on validation.

Trial 0 is the recipe as it is. The others are drawn by Optuna's TPE; each takes a sampler seeded by its number and all
trials before it, so that a search that was cut short goes on as if it had not been.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler

from contract.errors import ConfigError
from contract.files import write_text
from contract.schema import Strict
from training.benchmark.plan import parse_result
from training.config import Recipe

SPACE = Path(__file__).parent / "search.yaml"
SEED = 20_261_122  # of the sampler, and of all trials' training: none of the seeds that are reported
STARTUP = 5  # trials drawn at random before TPE models the scores

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Trial(Strict):
    """A finished trial: dotted settings and the score of the best weights; `error`: it failed, and why."""

    number: int
    settings: dict[str, Any]
    score: float | None = None
    seconds: float = 0.0
    error: str | None = None


def space(model: str, fixed: Collection[str] = (), path: Path = SPACE) -> dict[str, Any]:
    """What may be tuned, as written in the file: dotted setting → choices, or low and high; not what is fixed."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        dimensions = {**content["every"], **(content.get(model) or {})}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not a search space: {error}") from None
    return {key: dimension for key, dimension in dimensions.items() if key not in fixed}


def propose(dimensions: Mapping[str, Any], done: Sequence[Trial], recipe: Recipe) -> dict[str, Any]:
    """Settings of the next trial; none, the recipe itself, for the first."""
    if not done:
        return {}
    distributions = {key: _distribution(key, dimension) for key, dimension in dimensions.items()}
    sampler = TPESampler(seed=SEED + len(done), n_startup_trials=STARTUP)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in done:
        params = {key: _stored(distributions[key], value) for key, value in _settings(trial, dimensions, recipe)}
        if trial.score is not None and _inside(params, distributions):
            study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=trial.score))
    drawn = study.ask(distributions).params
    return {key: _decoded(distributions[key], value) for key, value in drawn.items()}


def best(done: Sequence[Trial]) -> Trial | None:
    """The trial of the highest score, the earlier one of equals; None where all failed."""
    scored = [trial for trial in done if trial.score is not None]
    return max(scored, key=lambda trial: (trial.score, -trial.number)) if scored else None


def assignments(settings: Mapping[str, Any]) -> list[str]:
    """As `--set` takes them."""
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def read_trials(folder: Path) -> list[Trial]:
    """Finished trials in order, up to the first that is absent."""
    found: list[Trial] = []
    while (file := _file(folder, len(found))).is_file():
        found.append(parse_result(Trial, file))
    return found


def write_trial(folder: Path, trial: Trial) -> None:
    """One file a trial, whole."""
    write_text(_file(folder, trial.number), trial.model_dump_json(indent=1) + "\n")


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:03}.json"


def _distribution(key: str, dimension: Any) -> BaseDistribution:
    if isinstance(dimension, list) and dimension:
        return CategoricalDistribution([json.dumps(choice) for choice in dimension])  # texts: Optuna takes no lists
    try:
        low, high, log = dimension["low"], dimension["high"], bool(dimension.get("log", False))
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log)
        return FloatDistribution(low, high, log)
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"search space: '{key}' needs a list of choices, or low and high ({error})") from None


def _settings(trial: Trial, dimensions: Mapping[str, Any], recipe: Recipe) -> list[tuple[str, Any]]:
    """Each dimension's value in a trial: its own, or the recipe's."""
    content = recipe.model_dump(mode="json")
    return [(key, trial.settings.get(key, _at(content, key))) for key in dimensions]


def _at(content: Mapping[str, Any], key: str) -> Any:
    value: Any = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _stored(distribution: BaseDistribution, value: Any) -> Any:
    return json.dumps(value) if isinstance(distribution, CategoricalDistribution) else value


def _decoded(distribution: BaseDistribution, value: Any) -> Any:
    return json.loads(value) if isinstance(distribution, CategoricalDistribution) else value


def _inside(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> bool:
    """Whether a trial lies in the space; a recipe need not."""
    for key, value in params.items():
        distribution = distributions[key]
        if isinstance(distribution, CategoricalDistribution):
            if value not in distribution.choices:
                return False
        elif not isinstance(value, int | float) or not distribution.low <= value <= distribution.high:  # type: ignore[attr-defined]
            return False
    return True
