"""The steps behind a decision, for people."""

from collections.abc import Mapping
from typing import Any

from service.experiments.assignment import NO_CONTEXT, Assignment, LayerRoute, Route
from service.experiments.hashing import murmur3, slot_of

Step = dict[str, object]


def explain(assignment: Assignment, user: str, context: Mapping[str, Any] = NO_CONTEXT) -> list[Step]:
    """The draws behind the decision for a user, in order."""
    return [step for layer in assignment.layers for step in _layer(layer, user)]


def _layer(layer: LayerRoute, user: str) -> list[Step]:
    listed = layer.overrides.get(user)
    steps: list[Step] = [
        {"step": "overrides", "layer": layer.layer.name, "experiment": listed and listed[0].experiment.key}
    ]
    enrolled = layer.of_slot[layer.slot(user)]
    draw = _draw(layer.layer.salt, user)
    key = enrolled and enrolled.experiment.key
    steps.append({"step": "slot", "layer": layer.layer.name, **draw, "experiment": key})
    return steps if enrolled is None else [*steps, _arm(enrolled, user)]


def _arm(route: Route, user: str) -> Step:
    starts = [0, *route.ends]
    ranges = {name: [starts[i], starts[i + 1]] for i, name in enumerate(route.variants)}
    draw = _draw(route.experiment.draw_salt, user)
    key, arm = route.experiment.key, route.drawn(user).arm.name
    return {"step": "arm", "experiment": key, **draw, "ranges": ranges, "arm": arm}


def _draw(salt: str, user: str) -> Step:
    return {"input": f"{salt}:{user}", "hash": murmur3(salt, user), "slot": slot_of(salt, user)}
