"""How a phase counts: the configuration that its first exposure met."""

from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from pydantic import ValidationError
from redis import Redis

from contract.errors import ConfigError
from service.experiments import keys
from service.experiments.change.versions import Version, read_live
from service.experiments.config import Experiments, Measure
from service.experiments.outcomes.ledger import RulesOf
from service.experiments.outcomes.sums import PhaseRules
from service.experiments.source import parse_experiments, read_experiments
from service.settings import Settings


class Rules:
    """Looks in the history, then in what is in force, then in the file; defaults where none knows the experiment."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis, self._settings, self._prefix = redis, settings, settings.redis_prefix

    def of(self, key: str, phase: int, version: int) -> PhaseRules:
        """Of a phase whose first exposure met this version."""
        return PhaseRules(self._measure(key, phase, version), self._settings.snapshot_minutes)

    def _measure(self, key: str, phase: int, version: int) -> Measure:
        for config in (self._of_history(version), self._in_force(), self._of_file()):
            experiment = config.experiment(key) if config is not None else None
            if experiment is not None and experiment.phase == phase:
                return experiment.measure
        return Measure()

    def _of_history(self, version: int) -> Experiments | None:
        stored = cast(bytes | None, self._redis.hget(keys.versions(self._prefix), str(version)))
        try:
            return None if stored is None else _parsed(Version.model_validate_json(stored).text or "")
        except ValidationError:
            return None

    def _in_force(self) -> Experiments | None:
        try:
            source = read_live(self._redis, self._prefix)
        except ConfigError:
            return None
        return None if source is None else source.config

    def _of_file(self) -> Experiments | None:
        try:
            return read_experiments(self._settings.experiments).config
        except ConfigError:
            return None


@lru_cache(maxsize=16)
def _parsed(text: str) -> Experiments | None:
    try:
        return parse_experiments(text, "a version").config
    except ConfigError:
        return None


def known_first(known: Mapping[str, PhaseRules], otherwise: RulesOf) -> RulesOf:
    """What was found before, by `key/phase`, since a replay must count alike."""

    def of(key: str, phase: int, version: int) -> PhaseRules:
        return known.get(f"{key}/{phase}") or otherwise(key, phase, version)

    return of
