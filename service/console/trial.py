"""The try-it form: the decision for a user step by step, and scores that leave no trace in log or metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson

from service.errors import INVALID_REQUEST, ServiceProblem
from service.experiments.assignment import Decision
from service.experiments.explanation import Step, explain
from service.experiments.log.queue import Log
from service.lifecycle import Service
from service.metrics import Metrics
from service.scoring.pipeline import Pipeline, new_call
from service.scoring.plan import Plan


@dataclass
class Asked:
    """What stands in the form, and what is wrong with it."""

    user_id: str = ""
    items: str = ""
    context: str = ""
    arm: str = ""
    error: str | None = None
    context_error: str | None = None

    @property
    def item_ids(self) -> list[str]:
        """Ids by line or comma."""
        return [name for line in self.items.splitlines() for part in line.split(",") if (name := part.strip())]

    def read_context(self) -> dict[str, Any]:
        """The object in the form; a problem where it is none."""
        try:
            context = orjson.loads(self.context) if self.context.strip() else {}
        except orjson.JSONDecodeError as error:
            raise ServiceProblem(INVALID_REQUEST, f"The context is not JSON: {error}") from None
        if not isinstance(context, dict):
            raise ServiceProblem(INVALID_REQUEST, 'The context is not an object; send one such as {"scene": "home"}')
        return context


@dataclass
class Answer:
    """What the form is answered with; each None where it was not got to."""

    decision: Decision | None = None
    steps: list[Step] | None = None
    reply: dict[str, Any] | None = None
    milliseconds: float | None = None


async def answer(service: Service, asked: Asked) -> Answer:
    """Explain and score; what is wrong is put into `asked`."""
    result = Answer()
    try:
        context = asked.read_context()
    except ServiceProblem as problem:
        asked.context_error = problem.detail
        return result
    if asked.arm and not service.settings.allow_arm_override:
        asked.error = "Choosing an arm needs TWINSCORE_ALLOW_ARM_OVERRIDE=true."
        return result
    try:
        plan = service.plan
        result.decision = plan.assignment.decide(asked.user_id, asked.arm or None, context)
        result.steps = [] if asked.arm else explain(plan.assignment, asked.user_id, context)
        if asked.item_ids:
            started = perf_counter()
            result.reply = await _score(service, plan, asked, context)
            result.milliseconds = 1000 * (perf_counter() - started)
    except ServiceProblem as problem:
        asked.error = problem.detail
    return result


async def _score(service: Service, plan: Plan, asked: Asked, context: Mapping[str, Any]) -> dict[str, Any]:
    """The reply of POST /score, by a pipeline of its own: nobody's exposure, and no request of the statistics."""
    metrics = Metrics()
    quiet = Pipeline(service.settings, plan, service.store, metrics, Log("console", None, 0, metrics))
    body = {"user": {"id": asked.user_id}, "item_ids": asked.item_ids, "context": context, "arm": asked.arm or None}
    reply: dict[str, Any] = orjson.loads(await quiet.score(orjson.dumps(body), new_call()))
    return reply
