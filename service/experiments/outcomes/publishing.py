"""What follows from new sums: readouts for the console and the API, and the next batch of Thompson weights."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import time

from redis import Redis

from contract.errors import TwinscoreError
from service.experiments import keys
from service.experiments.config import Experiment
from service.experiments.outcomes.sums import ExperimentSums
from service.experiments.readout.readout import readout_of
from service.experiments.readout.stored import configuration, weights_of
from service.experiments.source import Source
from service.experiments.thompson import step
from service.experiments.versions import publish_sync


class Publisher:
    """Of one prefix."""

    def __init__(self, redis: Redis, prefix: str, file: Path) -> None:
        self._redis, self._prefix, self._file = redis, prefix, file
        self._told: str | None = None

    def publish(self, phases: Iterable[str], sums: Mapping[str, ExperimentSums]) -> int:
        """Readouts of the experiments in force among these phases; how many. What goes wrong is told, once."""
        done = 0
        try:
            source = configuration(self._redis, self._prefix, self._file)
            for name in sorted(phases):
                experiment = source.config.experiment(sums[name].key)
                if experiment is not None and experiment.phase == sums[name].phase:
                    self._read_out(source, experiment, sums[name])
                    done += 1
            self._told = None
        except TwinscoreError as error:
            self._tell(str(error))
        return done

    def _read_out(self, source: Source, experiment: Experiment, sums: ExperimentSums) -> None:
        weights = weights_of(self._redis, self._prefix, sums)
        readout = readout_of(sums, experiment, source.config.version, time(), weights)
        self._redis.set(keys.readout(self._prefix, experiment.key), readout.model_dump_json())
        if experiment.thompson is None or not sums.first:
            return
        if (text := step(experiment, sums, source.text, round(time() * 1000))) is not None:
            note = f"phase {experiment.phase + 1} of '{experiment.key}': weights by what phase {experiment.phase} saw"
            publish_sync(self._redis, self._prefix, text, "thompson", note)

    def _tell(self, what: str) -> None:
        if what != self._told:
            self._told = what
            print(f"readout: {what}", file=sys.stderr, flush=True)
