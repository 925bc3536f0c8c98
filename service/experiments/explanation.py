"""The steps behind a decision, in the order in which it is made; each with a sentence (`text`) and its figures.

The walk is that of `assignment`, with words; a test holds the two together.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from service.experiments.assignment import NO_CONTEXT, Assignment, Decision, LayerRoute, Reason, Route, Variant
from service.experiments.hashing import Draw

Step = dict[str, object]
_STATES = {
    None: "'{}' is running",
    "killed": "'{}' is killed",
    "not-started": "'{}' starts at {}",
    "ended": "'{}' ended at {}",
}


def explain(assignment: Assignment, user: str, context: Mapping[str, Any] = NO_CONTEXT) -> list[Step]:
    """Everything that `decide` looks at for a user; the last step, "decision", is the outcome."""
    return list(_steps(assignment, user, context))


def _steps(assignment: Assignment, user: str, context: Mapping[str, Any]) -> Iterator[Step]:
    default, killed = assignment.config.default_model, assignment.config.killed
    yield {"step": "switch", "text": f"the kill switch of all experiments is {'on' if killed else 'off'}", "on": killed}
    if killed:
        yield from _joined([Decision(default, "killed")])
        return
    if assignment.holdout is not None:
        held = assignment.held[assignment.holdout.bucket(user)]
        said = "is held out of all experiments" if held else "is not held out"
        yield _drawn("holdout", assignment.holdout, user, said) | {"held": held}
        if held:
            yield from _joined([Decision(default, "holdout")])
            return
    decisions = []
    for layer in assignment.layers:
        decisions.append((yield from _layer(layer, default, user, context)))
    yield from _joined(decisions or [Decision(default, "not-enrolled")])


def _layer(layer: LayerRoute, default: str, user: str, context: Mapping[str, Any]) -> Generator[Step, None, Decision]:
    name = layer.layer.name
    if user in layer.overrides:
        return (yield from _overridden(layer, default, user))
    yield {
        "step": "override",
        "text": f"layer '{name}' has no override for this user",
        "layer": name,
        "experiment": None,
    }
    slot = layer.slot(user)
    route = layer.of_slot[slot]
    key = route and route.experiment.key
    said = f"of layer '{name}' is of " + (f"'{key}'" if key else "no experiment")
    yield _drawn("slot", layer.draw, user, said) | {"layer": name, "experiment": key}
    if route is None:
        return Decision(default, "not-enrolled", None, slot)
    reason, variant = yield from _inside(route, user, context)
    return Decision(default if variant is None else variant.model, reason, variant, slot)


def _overridden(layer: LayerRoute, default: str, user: str) -> Generator[Step, None, Decision]:
    route, variant = layer.overrides[user]
    key, arm = route.experiment.key, variant.arm.name
    text = f"an override of '{key}' gives this user arm '{arm}', whatever the draws"
    yield {"step": "override", "text": text, "layer": layer.layer.name, "experiment": key, "arm": arm}
    shut = yield from _state(route)
    if shut in ("killed", "ended"):
        return Decision(default, shut)
    return Decision(variant.model, "override", variant)


def _inside(
    route: Route, user: str, context: Mapping[str, Any]
) -> Generator[Step, None, tuple[Reason, Variant | None]]:
    """State, condition and arm of the experiment whose slot it is."""
    shut = yield from _state(route)
    if shut is not None:
        return shut, None
    if not (yield from _targeted(route, context)):
        return "not-targeted", None
    variant = route.drawn(user)
    ranges = {name: list(each) for name, each in zip(route.variants, route.ranges, strict=True)}
    arm = None if variant is None else variant.arm.name
    said = f"of {route.draw.total} is of " + (f"arm '{arm}'" if arm else "no arm: outside the coverage")
    yield _drawn("arm", route.draw, user, said) | {"experiment": route.experiment.key, "ranges": ranges, "arm": arm}
    return ("assigned" if variant else "not-enrolled"), variant


def _state(route: Route) -> Generator[Step, None, Reason | None]:
    experiment, shut = route.experiment, route.shut()
    moment = experiment.start if shut == "not-started" else experiment.end
    text = _STATES[shut].format(experiment.key, moment and moment.isoformat())
    yield {"step": "state", "text": text, "experiment": experiment.key, "state": shut or "running"}
    return shut


def _targeted(route: Route, context: Mapping[str, Any]) -> Generator[Step, None, bool]:
    condition = route.condition
    if condition is None:
        return True
    holds = condition.holds(context)
    saw = {name: context[name] for name in condition.fields if name in context}
    seen = ", ".join(f"{name} = {saw[name]!r}" if name in saw else f"{name} missing" for name in condition.fields)
    text = f"the condition {condition.text} {'holds' if holds else 'does not hold'}: {seen}"
    yield {"step": "condition", "text": text, "experiment": route.experiment.key, "saw": saw, "holds": holds}
    return holds


def _drawn(step: str, draw: Draw, user: str, said: str) -> Step:
    bucket, hashed = draw.bucket(user), draw.text(user)
    text = (
        f"{draw.algorithm} of '{hashed}' is {draw.hash(user)}: {'bucket' if step == 'arm' else 'slot'} {bucket} {said}"
    )
    return {"step": step, "text": text, "hash": draw.hash(user), "input": hashed, "slot": bucket}


def _joined(decisions: list[Decision]) -> Iterator[Step]:
    """Which layer chose the model, where several could, and the outcome."""
    inside = [each for each in decisions if each.variant is not None]
    naming = [each for each in inside if each.variant and each.variant.arm.model]
    chosen = (naming or inside or decisions)[0]
    if len(decisions) > 1:
        why = "its arm names a model" if naming else "no arm names a model: the default one"
        key = chosen.key if inside else None
        text = f"'{key}' decides: {why}" if key else "the user is in no experiment of any layer: the default model"
        others = [each.key for each in inside if each is not chosen]
        yield {"step": "model", "text": text, "experiment": key, "others": others}
    text = f"model {chosen.model}, arm {chosen.arm or 'none'} of {chosen.key or 'no experiment'}: {chosen.reason}"
    yield {
        "step": "decision", "text": text, "model": chosen.model, "reason": chosen.reason, "experiment": chosen.key,
        "arm": chosen.arm, "phase": chosen.phase, "slot": chosen.slot,
    }  # fmt: skip
