"""What the readout needs, from Redis: the configuration, the sums of a phase, and the weights of earlier versions."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

from pydantic import ValidationError
from redis import Redis

from contract.errors import ConfigError, StoreError
from service.experiments import keys
from service.experiments.change.versions import Version, read_live
from service.experiments.config import Experiment
from service.experiments.outcomes.store import read_sums
from service.experiments.outcomes.sums import ExperimentSums
from service.experiments.source import Source, parse_experiments, read_experiments

_PHASES_BACK = 1000  # that are looked for


def configuration(redis: Redis, prefix: str, file: Path) -> Source:
    """What is in force: of Redis, or else of the file."""
    return read_live(redis, prefix) or read_experiments(file)


def sums_of(redis: Redis, prefix: str, experiment: Experiment, phase: int | None) -> ExperimentSums | None:
    """The sums of a phase; without one, of the newest that has any, and None where none has."""
    phases = [phase] if phase is not None else range(experiment.phase, max(0, experiment.phase - _PHASES_BACK), -1)
    with redis.pipeline(transaction=False) as pipeline:
        for each in phases:
            pipeline.exists(keys.sums(prefix, experiment.key, each))
        found = [each for each, exists in zip(phases, pipeline.execute(), strict=True) if exists]
    if not found:
        return None
    try:
        return read_sums(redis, prefix, experiment.key, found[0])
    except ValidationError:
        key = keys.sums(prefix, experiment.key, found[0])
        raise StoreError(f"{key}: not the sums of an experiment; `python -m service outcomes recompute`") from None


def weights_of(redis: Redis, prefix: str, sums: ExperimentSums) -> dict[int, dict[str, int]]:
    """Weights of the arms in each version of the configuration that users of these sums met, as far as it is kept."""
    numbers = sorted({number for arm in sums.arms.values() for number in arm.versions})
    if not numbers:
        return {}
    stored = cast(Sequence[bytes | None], redis.hmget(keys.versions(prefix), [str(number) for number in numbers]))
    found = {number: _weights(text, sums.key) for number, text in zip(numbers, stored, strict=True) if text}
    return {number: dict(weights) for number, weights in found.items() if weights}


@lru_cache(maxsize=1024)
def _weights(version: bytes, key: str) -> tuple[tuple[str, int], ...]:
    """Of one version, which never changes; empty where it cannot be read, or has no such experiment."""
    try:
        text = Version.model_validate_json(version).text or ""
        experiment = parse_experiments(text, "version").config.experiment(key)
    except (ValidationError, ConfigError):
        return ()
    return tuple((arm.name, arm.weight) for arm in experiment.arms) if experiment else ()
