"""What follows from new sums: readouts for the console and the API, and the next batch of Thompson weights."""

import sys
from collections.abc import Iterable, Mapping
from time import time

from redis import Redis

from contract.errors import TwinscoreError
from service.experiments import keys
from service.experiments.change.versions import publish_sync, read_live
from service.experiments.config import Experiment
from service.experiments.outcomes.sums import ExperimentSums
from service.experiments.planning.thompson import step
from service.experiments.readout.readout import readout_of
from service.experiments.readout.stored import configuration, weights_of
from service.experiments.source import Source
from service.settings import Settings


def publish(
    redis: Redis, settings: Settings, phases: Iterable[str], sums: Mapping[str, ExperimentSums], told: str | None = None
) -> str | None:
    """Readouts of the experiments in force among these phases: of the newest that has users, until the next one has.

    What went wrong, said on stderr where it is new.
    """
    try:
        source = configuration(redis, settings.redis_prefix, settings.experiments)
        for name in sorted(phases):
            experiment = source.config.experiment(sums[name].key)
            if experiment is not None and sums[name].phase == _newest(experiment, sums.values()):
                _read_out(redis, settings.redis_prefix, source, experiment, sums[name])
    except TwinscoreError as error:
        if (wrong := str(error)) != told:
            print(f"readout: {wrong}", file=sys.stderr, flush=True)
        return wrong
    return None


def _read_out(redis: Redis, prefix: str, source: Source, experiment: Experiment, sums: ExperimentSums) -> None:
    now = time()
    readout = readout_of(sums, experiment, source.config.version, now, weights_of(redis, prefix, sums))
    redis.set(keys.readout(prefix, experiment.key), readout.model_dump_json())
    if experiment.thompson is None or not sums.first or sums.phase != experiment.phase:
        return
    if (text := step(experiment, sums, source.text, round(now * 1000))) is not None:
        note = f"phase {experiment.phase + 1} of '{experiment.key}': weights by what phase {experiment.phase} saw"
        if read_live(redis, prefix) is None:  # no service was here: the text that the next one is compared with
            publish_sync(redis, prefix, source.text, f"file:{source.origin}", "")
        version = publish_sync(redis, prefix, text, "thompson", note)
        print(f"thompson: version {version.version}: {note}", file=sys.stderr, flush=True)


def _newest(experiment: Experiment, sums: Iterable[ExperimentSums]) -> int:
    """The newest phase up to the one in force that has users; the one in force where none has."""
    counted = (each.phase for each in sums if each.key == experiment.key and each.first)
    return max((phase for phase in counted if phase <= experiment.phase), default=experiment.phase)
