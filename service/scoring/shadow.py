"""A shadow: a model that scores some of an arm's requests too, after their replies, when nothing else is to be done."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from contract.errors import ConfigError
from service.errors import ServiceProblem
from service.experiments.arms.comparison import Comparison
from service.experiments.assignment import Variant
from service.experiments.config import Experiments
from service.experiments.hashing import SlotDraw
from service.metrics import Metrics
from service.scoring.composition import compose
from service.scoring.engine import Scores
from service.scoring.inputs import Inputs
from service.scoring.jobs import Job
from service.scoring.ranking import RANK, rank
from service.scoring.registry import Model, Served


class Shadow:
    """The shadow of one arm."""

    def __init__(self, variant: Variant, primary: Served, served: Served, comparison: Comparison) -> None:
        assert variant.arm.shadow is not None
        self.variant, self.served, self.comparison = variant, served, comparison
        self._primary = primary
        self._share = variant.arm.shadow.share
        self._draw = SlotDraw("murmur3", f"{variant.experiment.key}.{variant.arm.name}.shadow")

    def draws(self, request_id: str) -> bool:
        """Whether this request is in the share: by request, so that a user's requests are not all or none."""
        return self._draw.bucket(request_id) < self._share

    def offer(self, inputs: Inputs) -> Job | None:
        """The job, where neither model has anything waiting and there is room."""
        if self._primary.batcher.waiting_rows or self.served.batcher.waiting_rows:
            return None
        return self.served.batcher.offer(inputs_of(inputs, self._primary.model, self.served.model))


@dataclass(frozen=True, slots=True)
class Shown:
    """What the arm's model made of a request."""

    inputs: Inputs
    scores: Scores  # composed and ranked
    seconds: float


class Shadows:
    """Shadow runs of a process. Nothing of them happens before the loop's next turn: the reply is written by then."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, shadow: Shadow, shown: Shown) -> None:
        """Score it once the reply is on its way."""
        asyncio.get_running_loop().call_soon(self._start, shadow, shown)

    async def close(self) -> None:
        """Give up on what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, shadow: Shadow, shown: Shown) -> None:
        job = shadow.offer(shown.inputs)
        if job is None:
            shadow.comparison.dropped += 1
            self._count(shadow, "dropped")
            return
        task = asyncio.get_running_loop().create_task(self._compare(shadow, shown, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self, shadow: Shadow, shown: Shown, job: Job) -> None:
        exponents = shadow.variant.arm.ranking
        try:
            scores = compose(await job.scores)
            if exponents:
                scores = {**scores, RANK: rank(scores, exponents)}
        except ServiceProblem:  # the service ends
            return
        except Exception:  # whatever it is, it is the shadow's own affair
            shadow.comparison.failed += 1
            self._count(shadow, "failed")
            return
        gaps = shadow.comparison.add(shown.scores, scores, shown.seconds, job.place.ran)
        self._count(shadow, "scored")
        self._metrics.compared(shadow.comparison, gaps, shown.seconds, job.place.ran)

    def _count(self, shadow: Shadow, outcome: str) -> None:
        of = shadow.comparison
        self._metrics.shadows.labels(of.key, of.arm, of.model, outcome).inc()


def inputs_of(inputs: Inputs, read_by: Model, reader: Model) -> Inputs:
    """One model's inputs for another of the same schema.

    Dictionaries only grow, so an id means the same to both. But what stands for a missing item may differ, and then no
    candidate may be known by its key to a table of the reader's.
    """
    ours, theirs = read_by.encoder.item_layout, reader.encoder.item_layout
    if np.array_equal(ours.default_ids, theirs.default_ids):
        return inputs
    return replace(inputs, item_keys=np.zeros_like(inputs.item_keys))


def check_shadows(config: Experiments, models: Mapping[str, Served]) -> None:
    """ConfigError, naming the arm, where a shadow reads other features than the arm's model, or gives no task of it."""
    arms = ((experiment, arm) for _, experiment in config.placed() for arm in experiment.arms)
    for experiment, arm in arms:
        if arm.shadow is None:
            continue
        model = arm.model or config.default_model
        own, shadow = models[model].model.manifest, models[arm.shadow.model].model.manifest
        where = f"experiment '{experiment.key}', arm '{arm.name}': shadow '{arm.shadow.model}'"
        if own.fingerprint != shadow.fingerprint:
            raise ConfigError(
                f"{where} reads other features ({shadow.fingerprint[:8]}) than '{model}' "
                f"({own.fingerprint[:8]}); a shadow must be of the same schema"
            )
        if not set(own.tasks) & set(shadow.tasks):
            raise ConfigError(f"{where} has no task of '{model}' ({', '.join(own.tasks)}): nothing to compare")
