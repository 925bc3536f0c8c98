"""One model's scores of one request; and, where an arm's model fails or is slow, the control's in its place."""

from collections.abc import Awaitable
from math import inf
from time import perf_counter
from typing import Literal, NamedTuple

from service.errors import ServiceProblem
from service.experiments.arms.breaker import REFUSED
from service.experiments.assignment import Variant
from service.messages import ScoreRequest
from service.metrics import Metrics
from service.scoring.arms import ArmState, StandIn
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


class Read(NamedTuple):
    """What a model of this schema reads of a request."""

    of: Model
    stored: Stored
    inputs: Inputs


class Attempt(NamedTuple):
    """Scores, whose they are, and what they were computed from."""

    served: Served
    read: Read
    scores: Scores
    seconds: float  # in the engine
    stand_in: Variant | None = None  # whose model scored in the place of the arm's
    reason: Reason | None = None  # why


class TooSlow(TimeoutError):
    """The engine had no scores when the time was up."""


class Attempts:
    """Looks up, encodes, runs."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

    async def by(
        self,
        served: Served,
        asked: Asked,
        watch: Stopwatch,
        limit: float = inf,
        known: Read | None = None,
        asks: list[Read] | None = None,
    ) -> Attempt:
        """Scores of a model; TooSlow at the limit (by perf_counter), and then nobody waits for the run.

        `known` is what another model read of this request; what the engine is asked for is added to `asks`.
        """
        model = served.model
        with served.batcher.admit(len(asked.items), asked.deadline) as place:
            if known is not None and known.of.manifest.fingerprint == model.manifest.fingerprint:
                read = Read(model, known.stored, inputs_of(known.inputs, known.of, model))
            else:
                encoder, items = model.encoder, asked.items if model.encoder.looks_up_items else []
                user = asked.user if encoder.looks_up_users else None
                stored = await self._store.fetch(model.manifest.fingerprint, user, items)
                watch.lap("features")
                encoded = encoder.encode(asked.ask, stored, len(asked.items))
                if known is None:  # else the request is counted already
                    self._count(encoded, stored)
                watch.lap("encode")
                read = Read(model, stored, encoded.inputs)
            if asks is not None:
                asks.append(read)
            if limit == inf or limit <= watch.last:  # the look-up took it all: no other model were faster
                scores = await served.batcher.score(read.inputs, place)
            else:
                scores = await within(limit - watch.last, served.batcher.score(read.inputs, place))
        watch.lap(None)  # queue and run
        return Attempt(served, read, scores, place.ran)

    async def of_arm(self, arm: ArmState, served: Served, asked: Asked, watch: Stopwatch) -> Attempt:
        """Scores of the arm's model, else the control's; notes how it went."""
        stand_in, routed, asks = arm.stand_in, watch.last, list[Read]()
        ticket = arm.breaker.allow() if stand_in else REFUSED
        if stand_in and ticket == REFUSED:
            arm.window.refused()
            return await self._in_place(arm, stand_in, OPEN, None, asked, watch)
        limit = routed + arm.slow
        try:
            attempt = await self.by(served, asked, watch, limit, asks=asks)
        except Exception as error:
            if isinstance(error, ServiceProblem) or not asks:  # not the engine's doing
                arm.breaker.left(ticket)
                raise
            reason = _note(arm, ticket, SLOW if isinstance(error, TooSlow) else FAILED, perf_counter() - routed)
            if stand_in is None:
                raise
        except BaseException:
            arm.breaker.left(ticket)
            raise
        else:
            arm.breaker.succeeded(ticket)
            arm.window.answered(watch.last - routed, attempt.scores.get(CTR))
            return attempt
        return await self._in_place(arm, stand_in, reason, asks[0], asked, watch)

    async def _in_place(
        self, arm: ArmState, stand_in: StandIn, reason: Reason, known: Read | None, asked: Asked, watch: Stopwatch
    ) -> Attempt:
        """The control's scores; what it raises is the caller's."""
        watch.lap(None)
        attempt = await self.by(stand_in.served, asked, watch, known=known)
        arm.window.stood_in()
        experiment, name = arm.variant.experiment.key, arm.variant.arm.name
        self._metrics.fallbacks.labels(experiment, name, reason).inc()
        return attempt._replace(stand_in=stand_in.variant, reason=reason)

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


async def within(seconds: float, scores: Awaitable[Scores]) -> Scores:
    """What is awaited, or TooSlow; a TimeoutError of its own is a failure like any other."""
    timer = None
    try:
        async with fair_timeout(seconds) as timer:
            return await scores
    except TimeoutError:
        if (
            timer and timer.expired()
        ):  # the clock would not say: uvloop's timers count whole milliseconds, and may be early
            raise TooSlow from None
        raise


def _note(arm: ArmState, ticket: int, reason: Reason, seconds: float) -> Reason:
    arm.breaker.failed(ticket)
    if reason == SLOW:
        arm.window.slow(seconds)
    else:
        arm.window.failed()
    return reason
