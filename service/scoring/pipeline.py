"""One request on its way: parse, route, look up, encode, run, compose, serialise; each stage is timed."""

from dataclasses import dataclass
from math import inf
from random import getrandbits
from time import perf_counter
from typing import cast

import numpy as np

from service.errors import INVALID_REQUEST, OVERRIDE_NOT_ALLOWED, ServiceProblem
from service.experiments.assignment import Decision
from service.experiments.log import Log
from service.messages import ScoreRequest
from service.metrics import Metrics
from service.scoring.composition import compose
from service.scoring.engine import Scores
from service.scoring.features import Encoded
from service.scoring.plan import Plan
from service.scoring.registry import Model
from service.scoring.store import TIMEOUT, UNAVAILABLE, Store, Stored
from service.settings import Settings
from service.wire.forms import JSON, Content, Form

NOT_FINITE = "scores:not-finite"


@dataclass(slots=True)
class Call:
    """What is known of a request so far; the edge reads it to label metrics and replies."""

    request_id: str
    arm: str = ""
    model: str = ""
    deadline: float = inf  # by perf_counter


def new_call() -> Call:
    """A call with an id of its own."""
    return Call(f"{getrandbits(128):032x}")


class Stopwatch:
    """Observes the time since the last lap."""

    def __init__(self, metrics: Metrics) -> None:
        self._stage, self._last = metrics.stage, perf_counter()

    def lap(self, stage: str | None) -> None:
        """End a stage; None where somebody else times it."""
        now = perf_counter()
        if stage:
            self._stage[stage](now - self._last)
        self._last = now


class Pipeline:
    """Scores requests by the plan in force."""

    def __init__(self, settings: Settings, plan: Plan, store: Store, metrics: Metrics, log: Log) -> None:
        self._settings, self._store, self._metrics, self._log = settings, store, metrics, log
        self.adopt(plan)

    def adopt(self, plan: Plan) -> None:
        """Route by this plan from the next request on."""
        for served in plan.models.values():
            encoder = served.model.encoder
            self._store.keep_items(
                served.model.manifest.fingerprint, encoder.item_layout, self._settings, self._metrics
            )
        self._plan = plan

    async def score(self, body: bytes, call: Call, reads: Form = JSON, writes: Form = JSON) -> bytes:
        """The reply's bytes; a ServiceProblem where the request does not fit. Fills `call` on the way."""
        watch = Stopwatch(self._metrics)
        ask = reads.read(body)
        call.request_id = ask.request_id or call.request_id
        sent, items, user = self._ids(ask)
        watch.lap("parse")
        plan = self._plan  # one for the whole request, whatever is adopted meanwhile
        decision = self._route(plan, ask, user)
        served = plan.models[decision.model]
        model = served.model
        call.arm, call.model = decision.arm or "", model.manifest.model
        watch.lap("route")
        with served.batcher.admit(len(items), call.deadline) as place:
            stored = await self._look_up(model, user, items)
            watch.lap("features")
            encoded = model.encoder.encode(ask, stored, len(items))
            self._count(encoded, stored)
            watch.lap("encode")
            raw = await served.batcher.score(encoded.inputs, place)
        watch.lap(None)  # queue and run
        scores = compose(raw)
        degraded = self._degraded(stored, scores)
        name, version = f"{model.manifest.model}@{model.manifest.version}", plan.source.config.version
        self._log.expose(decision, decision.arm, name, call.request_id, user, version, len(items), scores, ask.context)
        watch.lap("compose")
        reply = writes.write(self._content(call.request_id, sent, scores, model, plan, decision, degraded))
        watch.lap("serialise")
        return reply

    def _ids(self, ask: ScoreRequest) -> tuple[list[str | int], list[str], str | None]:
        """Candidate ids as sent and as text, and the user id as text; within the limits."""
        sent = ask.candidates()
        if len(sent) > self._settings.max_items:
            name = "items" if ask.items else "item_ids"
            raise ServiceProblem(INVALID_REQUEST, f"{name}: {len(sent)} candidates; at most {self._settings.max_items}")
        items, most = _texts(sent)
        user = None if ask.user.id is None else str(ask.user.id)
        longest = self._settings.max_id_bytes
        if user is not None and len(user.encode()) > longest:
            raise ServiceProblem(INVALID_REQUEST, f"user.id: longer than {longest} bytes of UTF-8")
        if 4 * most > longest:  # a character takes 4 bytes at most
            for i, item in enumerate(items):
                if len(item.encode()) > longest:
                    where = f"items[{i}].id" if ask.items else f"item_ids[{i}]"
                    raise ServiceProblem(INVALID_REQUEST, f"{where}: longer than {longest} bytes of UTF-8")
        return sent, items, user

    def _route(self, plan: Plan, ask: ScoreRequest, user: str | None) -> Decision:
        if ask.arm is not None and not self._settings.allow_arm_override:
            raise ServiceProblem(
                OVERRIDE_NOT_ALLOWED,
                "arm: set TWINSCORE_ALLOW_ARM_OVERRIDE=true to let requests choose, or leave it out",
            )
        return plan.assignment.decide(user, ask.arm, ask.context)

    async def _look_up(self, model: Model, user: str | None, items: list[str]) -> Stored:
        encoder = model.encoder
        return await self._store.fetch(
            model.manifest.fingerprint,
            user if encoder.looks_up_users else None,
            items if encoder.looks_up_items else [],
        )

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

    def _degraded(self, stored: Stored, scores: Scores) -> list[str]:
        reasons = [stored.degraded] if stored.degraded else []
        if not all(np.isfinite(column).all() for column in scores.values()):
            reasons.append(NOT_FINITE)
        for reason in reasons:
            self._metrics.degraded.labels(reason).inc()
        return reasons

    def _content(
        self,
        request_id: str,
        items: list[str | int],
        scores: Scores,
        model: Model,
        plan: Plan,
        decision: Decision,
        degraded: list[str],
    ) -> Content:
        return {
            "request_id": request_id,
            "item_ids": items,
            "scores": scores,
            "model": {"name": model.manifest.model, "version": model.manifest.version},
            "experiment": {
                "key": decision.key,
                "arm": decision.arm,
                "phase": decision.phase,
                "slot": decision.slot,
                "reason": decision.reason,
                "config_version": plan.source.config.version,
            },
            "degraded": degraded,
        }


def _texts(ids: list[str | int]) -> tuple[list[str], int]:
    """Ids as text, and the number of characters of the longest; the list itself where all are text."""
    try:
        return cast(list[str], ids), len(max(ids, key=len))  # type: ignore[arg-type]
    except TypeError:  # a number has no length
        texts = [str(item) for item in ids]
        return texts, max(map(len, texts))
