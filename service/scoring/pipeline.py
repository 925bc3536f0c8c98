"""One request on its way: parse, route, look up, encode, run, compose, serialise; each stage is timed."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from random import getrandbits
from typing import Any, NamedTuple, cast

import numpy as np

from service.errors import INVALID_REQUEST, OVERRIDE_NOT_ALLOWED, ServiceProblem
from service.experiments.assignment import Decision
from service.experiments.log.queue import Log
from service.messages import ScoreRequest
from service.metrics import Metrics
from service.scoring.arms import Arms, ArmState
from service.scoring.attempt import Asked, Attempt, Attempts
from service.scoring.composition import compose
from service.scoring.engine import Scores
from service.scoring.plan import Plan
from service.scoring.ranking import RANK, rank
from service.scoring.shadow import Shadows, Shown
from service.scoring.stopwatch import Stopwatch
from service.scoring.store import Store
from service.settings import Settings
from service.wire.forms import JSON, Content, Form

ARM_HEADER = "X-Arm"
NOT_FINITE = "scores:not-finite"


@dataclass(slots=True)
class Call:
    """What is known of a request so far; the edge reads it to label metrics and replies."""

    request_id: str
    arm: str = ""
    model: str = ""
    deadline: float = inf  # by perf_counter
    forced: str | None = None  # the arm that the header asks for


def new_call() -> Call:
    """A call with an id of its own."""
    return Call(f"{getrandbits(128):032x}")


class _Routing(NamedTuple):
    """What a request is routed by, swapped whole."""

    plan: Plan
    arms: Mapping[int, ArmState]  # by the id of the variant


class Pipeline:
    """Scores requests by the plan in force."""

    def __init__(self, settings: Settings, plan: Plan, store: Store, metrics: Metrics, log: Log) -> None:
        self._settings, self._store, self._metrics, self._log = settings, store, metrics, log
        self._attempts, self.shadows, self.arms = Attempts(store, metrics), Shadows(metrics), Arms()
        self.adopt(plan)

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._routing.plan

    def adopt(self, plan: Plan) -> None:
        """Route by this plan from the next request on."""
        for served in plan.models.values():
            encoder, fingerprint = served.model.encoder, served.model.manifest.fingerprint
            self._store.keep_items(fingerprint, encoder.item_layout, self._settings, self._metrics)
            self._store.show_ages(fingerprint, self._metrics)
        self._routing = _Routing(plan, self.arms.adopt(plan))
        self._metrics.watch_breakers(
            {(state.variant.experiment.key, state.variant.arm.name): state.breaker for state in self.arms}
        )

    async def score(self, body: bytes, call: Call, reads: Form = JSON, writes: Form = JSON) -> bytes:
        """The reply's bytes; a ServiceProblem where the request does not fit. Fills `call` on the way."""
        watch = Stopwatch(self._metrics)
        ask = reads.read(body)
        call.request_id = ask.request_id or call.request_id
        sent, items, user = self._ids(ask)
        watch.lap("parse")
        plan, arms = self._routing  # one for the whole request, whatever is adopted meanwhile
        decision = plan.assignment.decide(user, self._forced(ask, call), ask.context)
        arm, served = arms.get(id(decision.variant)), plan.models[decision.model]
        call.arm, call.model = decision.arm or "", served.model.manifest.model
        watch.lap("route")
        asked = Asked(ask, user, items, call.deadline)
        if arm is None:
            attempt = await self._attempts.by(served, asked, watch)
        else:
            attempt = await self._attempts.of_arm(arm, served, asked, watch)
        call.model = attempt.served.model.manifest.model
        met = _met(decision, attempt)
        scores = compose(attempt.scores)
        extras = met.variant is not None and (arm is None or arm.extras or bool(met.others) or met is not decision)
        if extras and met.ranking:
            scores = {**scores, RANK: rank(scores, met.ranking)}
        degraded = self._degraded(attempt, scores)
        if decision.variant is not None:
            self._expose(call, plan, decision, met, asked, attempt, scores)
        watch.lap("compose")
        content = _content(call.request_id, sent, scores, plan, decision, met, attempt, degraded)
        if extras:
            content["parameters"] = met.parameters
        reply = writes.write(content)
        watch.lap("serialise")
        if arm is not None and arm.shadow and attempt.reason is None and arm.shadow.draws(call.request_id):
            self.shadows.later(arm.shadow, Shown(attempt.read.inputs, scores, attempt.seconds))
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

    def _forced(self, ask: ScoreRequest, call: Call) -> str | None:
        """The arm that the body or the header asks for."""
        if ask.arm is None and call.forced is None:
            return None
        if not self._settings.allow_arm_override:
            where = "arm" if call.forced is None else ARM_HEADER
            raise ServiceProblem(
                OVERRIDE_NOT_ALLOWED,
                f"{where}: set TWINSCORE_ALLOW_ARM_OVERRIDE=true to let requests choose, or leave it out",
            )
        if ask.arm is not None and call.forced not in (None, ask.arm):
            raise ServiceProblem(
                INVALID_REQUEST,
                f"arm '{ask.arm[:64]}' and {ARM_HEADER} '{str(call.forced)[:64]}' differ; send one of the two",
            )
        return call.forced if ask.arm is None else ask.arm

    def _degraded(self, attempt: Attempt, scores: Scores) -> list[str]:
        reasons = [reason for reason in (attempt.reason, attempt.read.stored.degraded) if reason]
        if not all(np.isfinite(column).all() for column in scores.values()):
            reasons.append(NOT_FINITE)
        for reason in reasons:
            self._metrics.degraded.labels(reason).inc()
        return reasons

    def _expose(
        self, call: Call, plan: Plan, decision: Decision, met: Decision, asked: Asked, attempt: Attempt, scores: Scores
    ) -> None:
        manifest, version = attempt.served.model.manifest, plan.source.config.version
        name, items = f"{manifest.model}@{manifest.version}", len(asked.items)
        self._log.expose(
            decision, met.arm, name, call.request_id, asked.user, version, items, scores, asked.ask.context
        )


def _met(decision: Decision, attempt: Attempt) -> Decision:
    """What the request was served: the control's formula and parameters too, where its model stood in."""
    return decision if attempt.stand_in is None else decision._replace(variant=attempt.stand_in)


def _content(
    request_id: str,
    items: list[str | int],
    scores: Scores,
    plan: Plan,
    decision: Decision,
    met: Decision,
    attempt: Attempt,
    degraded: list[str],
) -> Content:
    manifest, version = attempt.served.model.manifest, plan.source.config.version
    return {
        "request_id": request_id,
        "item_ids": items,
        "scores": scores,
        "model": {"name": manifest.model, "version": manifest.version},
        "experiment": _experiment(decision, met.arm, version),
        "parameters": {},
        "others": [_experiment(other, other.arm, version) for other in decision.others] if decision.others else [],
        "degraded": degraded,
    }


def _experiment(decision: Decision, served: str | None, version: int) -> dict[str, Any]:
    return {
        "key": decision.key,
        "arm": decision.arm,
        "served": served,
        "phase": decision.phase,
        "slot": decision.slot,
        "reason": decision.reason,
        "config_version": version,
    }


def _texts(ids: list[str | int]) -> tuple[list[str], int]:
    """Ids as text, and the number of characters of the longest; the list itself where all are text."""
    try:
        return cast(list[str], ids), len(max(ids, key=len))  # type: ignore[arg-type]
    except TypeError:  # a number has no length
        texts = [str(item) for item in ids]
        return texts, max(map(len, texts))
