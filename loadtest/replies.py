"""Is a reply right? A fast wrong answer is a failure."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from contract.schema import Task
from loadtest.payloads import Request


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a reply (None: nothing), which model gave it, and what it was scored without."""

    wrong: str | None
    model: str = "?"
    degraded: list[str] = field(default_factory=list)


def judge(request: Request, status: int, body: bytes, tasks: Mapping[str, tuple[Task, ...]]) -> Verdict:
    """Check a reply against its request; messages hold no ids, so that Locust can count them."""
    if status != 200:
        return Verdict(f"status {status}{_title(body)}")
    try:
        reply = json.loads(body)
        model, scores, degraded = reply["model"]["name"], reply["scores"], list(reply.get("degraded", []))
        echoed = reply["item_ids"]
        columns = dict(scores.items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Verdict(f"reply does not read as designed: {type(error).__name__}")
    if echoed != request.item_ids:
        return Verdict("item_ids differ from those asked for", model, degraded)
    return Verdict(_wrong_scores(columns, len(request.item_ids), tasks.get(model)), model, degraded)


def _wrong_scores(columns: Mapping[str, object], count: int, tasks: tuple[Task, ...] | None) -> str | None:
    if tasks is None:
        return "a model that is not among the bundles"
    unbounded = {task.name for task in tasks if task.kind == "continuous"}
    for name in [task.name for task in tasks] + list(columns):
        column = columns.get(name)
        if not isinstance(column, list) or len(column) != count:
            return f"not one score a candidate for task {name}"
        if not all(type(score) in (float, int) and math.isfinite(score) for score in column):
            return f"a score of task {name} is not a number"
        if name not in unbounded and not all(0 <= score <= 1 for score in column):
            return f"a score of task {name} is outside [0, 1]"
    return None


def _title(body: bytes) -> str:
    """The title of RFC 9457 problem details, the same for every occurrence."""
    try:
        return f": {json.loads(body)['title']}"
    except (ValueError, KeyError, TypeError):
        return ""
