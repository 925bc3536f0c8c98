"""What a page shows, gathered in one go; what cannot be known now is said in `problems` and left out."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from pydantic import ValidationError
from redis.exceptions import RedisError

from service.console.figures import clock, moment
from service.experiments import keys
from service.experiments.arms.comparison import ComparisonReport
from service.experiments.arms.health import ArmReport, read_health
from service.experiments.config import Experiment, Experiments
from service.experiments.readout.report import Readout
from service.lifecycle import Service

SECONDS = 1.0  # for all that is read
OLD_READOUT = 60.0  # seconds; outcomes computes it every few


class State(NamedTuple):
    """Whether an experiment assigns users now."""

    name: Literal["running", "killed", "scheduled", "ended"]
    detail: str = ""


@dataclass
class Facts:
    """The configuration in force and what is known of it."""

    config: Experiments
    text: str
    author: str
    now: datetime
    readouts: dict[str, Readout] = field(default_factory=dict)
    health: Mapping[str, Mapping[str, ArmReport]] = field(default_factory=dict)
    shadows: Sequence[ComparisonReport] = ()
    processes: int = 0
    problems: list[str] = field(default_factory=list)

    def state(self, experiment: Experiment) -> State:
        """What the configuration says at this time."""
        if self.config.killed:
            return State("killed", "everybody meets the default model")
        if experiment.killed:
            return State("killed", "its users meet the default model")
        if experiment.start and self.now < experiment.start:
            return State("scheduled", f"starts {clock(experiment.start)}")
        if experiment.end and self.now >= experiment.end:
            return State("ended", f"since {clock(experiment.end)}")
        return State("running", f"until {clock(experiment.end)}" if experiment.end else "")

    def readout(self, experiment: Experiment) -> Readout | None:
        """The readout of the experiment's phase; one of an earlier phase is none."""
        found = self.readouts.get(experiment.key)
        return found if found and found.phase == experiment.phase else None

    def seconds_since(self, time: str | int | None) -> float | None:
        """Age of a time."""
        then = moment(time)
        return None if then is None else max(0.0, (self.now - then).total_seconds())

    def is_old(self, readout: Readout) -> bool:
        """Whether nobody has counted outcomes for a while."""
        return (self.seconds_since(readout.as_of) or 0.0) > OLD_READOUT


async def gather(service: Service) -> Facts:
    """The facts of now; waits a second at most. A problem where the service has no configuration yet."""
    source = service.source
    facts = Facts(source.config, source.text, service.live.author, datetime.now(UTC))
    for refusal in service.live.following.refused.values():
        facts.problems.append(
            f"What came by {refusal.origin} is refused, version {source.config.version} stays: {refusal.reason}"
        )
    try:
        async with asyncio.timeout(SECONDS):
            await _read_readouts(service, facts)
            health = await read_health(service.store.redis, service.settings.redis_prefix)
            facts.health, facts.shadows, facts.processes = health["experiments"], health["shadows"], health["processes"]
    except (TimeoutError, RedisError, OSError) as error:
        why = f"no answer within {SECONDS:g} s" if isinstance(error, TimeoutError) else " ".join(str(error).split())
        facts.problems.append(f"Redis: {why}. Readouts and the health of arms are not known now; scoring goes on.")
    return facts


async def _read_readouts(service: Service, facts: Facts) -> None:
    names = [experiment.key for _, experiment in facts.config.placed()]
    prefix = service.settings.redis_prefix
    stored = await service.store.redis.mget([keys.readout(prefix, name) for name in names]) if names else []
    for name, document in zip(names, stored, strict=True):
        try:
            if document is not None:
                facts.readouts[name] = Readout.model_validate_json(document)
        except ValidationError:
            facts.problems.append(f"The stored readout of '{name}' cannot be read; is `outcomes` of another version?")
