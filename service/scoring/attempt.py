"""One model's scores of one request; and, where an arm's model fails or is slow, the control's in its place."""

from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import Literal, NamedTuple

from service.errors import ServiceProblem
from service.experiments.assignment import Variant
from service.messages import ScoreRequest
from service.metrics import Metrics
from service.scoring.admission import Place
from service.scoring.arms import ArmState
from service.scoring.batching import Batcher
from service.scoring.composition import CTR
from service.scoring.engine import Scores
from service.scoring.features import Encoded
from service.scoring.inputs import Inputs
from service.scoring.registry import Model, Served
from service.scoring.shadow import inputs_of
from service.scoring.stopwatch import Stopwatch
from service.scoring.store import TIMEOUT, UNAVAILABLE, Store, Stored, fair_timeout

Reason = Literal["arm:failed", "arm:slow", "arm:open"]
FAILED: Reason = "arm:failed"
SLOW: Reason = "arm:slow"
OPEN: Reason = "arm:open"


class Asked(NamedTuple):
    """What a request wants scored."""

    ask: ScoreRequest
    user: str | None
    items: list[str]
    deadline: float


@dataclass(frozen=True, slots=True)
class Read:
    """What a model of this schema reads of a request."""

    of: Model
    stored: Stored
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class Attempt:
    """Scores, whose they are, and what they were computed from."""

    served: Served
    read: Read
    scores: Scores
    seconds: float  # in the engine
    stand_in: Variant | None = None  # whose model scored in the place of the arm's
    reason: Reason | None = None  # why


class _Failed(Exception):
    """A model that did not answer; its cause is what the engine raised."""

    def __init__(self, read: Read, reason: Reason) -> None:
        super().__init__(reason)
        self.read, self.reason = read, reason


class Attempts:
    """Looks up, encodes, runs."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

    async def by(self, served: Served, asked: Asked, watch: Stopwatch) -> Attempt:
        """Scores of a model, whatever becomes of it."""
        try:
            return await self._by(served, asked, watch)
        except _Failed as failed:
            raise failed.__cause__ or failed from None

    async def of_arm(self, arm: ArmState, served: Served, asked: Asked, watch: Stopwatch) -> Attempt:
        """Scores of the arm's model, else the control's; notes how it went."""
        stand_in, routed = arm.stand_in, watch.last
        ticket = arm.breaker.allow() if stand_in else 0
        if stand_in and not ticket:
            arm.window.refused()
            return await self._in_place(arm, OPEN, None, asked, watch)
        try:
            attempt = await self._by(served, asked, watch, routed + arm.slow)
        except _Failed as failed:
            _note(arm, ticket, failed.reason, perf_counter() - routed)
            if stand_in is None:
                raise failed.__cause__ or failed from None
            read, reason = failed.read, failed.reason
        except BaseException:
            arm.breaker.left(ticket)
            raise
        else:
            arm.breaker.succeeded(ticket)
            arm.window.answered(watch.last - routed, attempt.scores.get(CTR))
            return attempt
        return await self._in_place(arm, reason, read, asked, watch)

    async def _in_place(
        self, arm: ArmState, reason: Reason, read: Read | None, asked: Asked, watch: Stopwatch
    ) -> Attempt:
        """The control's scores; what it raises is the caller's."""
        assert arm.stand_in is not None
        variant, served = arm.stand_in.variant, arm.stand_in.served
        watch.lap(None)
        try:
            attempt = await self._by(served, asked, watch, read=read)
        except _Failed as failed:
            raise failed.__cause__ or failed from None
        arm.window.stood_in()
        self._metrics.fallbacks.labels(variant.experiment.key, arm.variant.arm.name, reason).inc()
        return Attempt(served, attempt.read, attempt.scores, attempt.seconds, variant, reason)

    async def _by(
        self, served: Served, asked: Asked, watch: Stopwatch, limit: float = inf, read: Read | None = None
    ) -> Attempt:
        with served.batcher.admit(len(asked.items), asked.deadline) as place:
            read = await self._read(served.model, asked, watch, read)
            scores = await self._run(served.batcher, read, place, limit)
        watch.lap(None)  # queue and run
        return Attempt(served, read, scores, place.ran)

    async def _read(self, model: Model, asked: Asked, watch: Stopwatch, read: Read | None) -> Read:
        """What the model reads; what was read for another one where both have one schema."""
        if read is not None and read.of.manifest.fingerprint == model.manifest.fingerprint:
            return Read(model, read.stored, inputs_of(read.inputs, read.of, model))
        encoder = model.encoder
        stored = await self._store.fetch(
            model.manifest.fingerprint,
            asked.user if encoder.looks_up_users else None,
            asked.items if encoder.looks_up_items else [],
        )
        watch.lap("features")
        encoded = encoder.encode(asked.ask, stored, len(asked.items))
        if read is None:  # else the request is counted already
            self._count(encoded, stored)
        watch.lap("encode")
        return Read(model, stored, encoded.inputs)

    async def _run(self, batcher: Batcher, read: Read, place: Place, limit: float) -> Scores:
        """Scores; _Failed where the engine raised, or the limit (by perf_counter) passed: then nobody waits for it."""
        try:
            left = limit - perf_counter()
            if left == inf or left <= 0:  # the look-up took it all: no other model were faster
                return await batcher.score(read.inputs, place)
            async with fair_timeout(left):
                return await batcher.score(read.inputs, place)
        except ServiceProblem:
            raise
        except Exception as error:
            late = isinstance(error, TimeoutError) and perf_counter() >= limit
            raise _Failed(read, SLOW if late else FAILED) from error

    def _count(self, encoded: Encoded, stored: Stored) -> None:
        metrics = self._metrics
        metrics.candidates.inc(len(encoded.inputs))
        if stored.degraded in (TIMEOUT, UNAVAILABLE):  # nobody knows whether those rows exist
            return
        for side, missing, corrupt in (
            ("user", encoded.missing_users, encoded.corrupt_users),
            ("item", encoded.missing_items, encoded.corrupt_items),
        ):
            if missing:
                metrics.missing[side](missing)
            if corrupt:
                metrics.corrupt[side](corrupt)


def _note(arm: ArmState, ticket: int, reason: Reason, seconds: float) -> None:
    arm.breaker.failed(ticket)
    if reason == SLOW:
        arm.window.slow(seconds)
    else:
        arm.window.failed()
