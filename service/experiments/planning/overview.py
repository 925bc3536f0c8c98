"""A configuration at a glance: what runs for whom, and what to think twice about."""

from collections.abc import Iterator
from datetime import datetime

from service.experiments.change.difference import percent
from service.experiments.config import SLOTS, Arm, Experiment, Experiments, Layer, Slots
from service.experiments.planning.tables import table

_HEADING = ("layer", "experiment", "phase", "state", "users", "arm", "weight", "model")


def overview(config: Experiments, now: datetime) -> list[str]:
    """A table with a line an arm; a star marks the control."""
    rows = [
        row
        for layer in config.layers
        for experiment in layer.experiments
        for row in _rows(config, layer, experiment, now)
    ]
    lines = table(_HEADING, rows) if rows else ["  no experiments: everybody meets the default model"]
    if config.holdout:
        lines.append(f"  {percent(_size(config.holdout.slots) / SLOTS)} of all users are held out of all experiments")
    free = [(layer.name, SLOTS - sum(_size(each.slots) for each in layer.experiments)) for layer in config.layers]
    return [*lines, *(f"  layer {name}: {slots:,} of {SLOTS:,} slots are free" for name, slots in free if slots)]


def warnings(config: Experiments) -> Iterator[str]:
    """What is allowed and seldom meant."""
    if config.killed:
        yield "killed is on: everybody meets the default model"
    for layer in config.layers:
        if layer.experiments and sum(_size(each.slots) for each in layer.experiments) == SLOTS:
            yield f"layer '{layer.name}' has no free slot: no experiment of it can grow, none can be added"
    for _, experiment in config.placed():
        yield from _of_experiment(experiment)


def reached(config: Experiments, experiment: Experiment) -> float:
    """The share of all users whom the draws put into the experiment."""
    held = _size(config.holdout.slots) if config.holdout else 0
    return _size(experiment.slots) / SLOTS * experiment.coverage / SLOTS * (1 - held / SLOTS)


def expected(experiment: Experiment) -> dict[str, float]:
    """The share of the experiment's users that each arm should have."""
    total = sum(arm.weight for arm in experiment.arms)
    return {arm.name: arm.weight / total for arm in experiment.arms}


def _of_experiment(experiment: Experiment) -> Iterator[str]:
    key, weighty = experiment.key, [arm for arm in experiment.arms if arm.weight]
    for arm in experiment.arms:
        if not arm.weight:
            yield f"'{key}': arm '{arm.name}' has weight 0, so that only overrides lead to it"
    if len(weighty) < 2:
        yield f"'{key}': one arm has all the users, so there is nothing to compare"
    elif experiment.guardrails is None:
        yield f"'{key}': no guardrails, so that nothing ends it when an arm fails or is slow"
    if experiment.thompson:
        yield (
            f"'{key}': thompson makes each batch a phase, with a readout of its own, and weights that adapt find "
            "differences between arms that tie more often than alpha says; decide by an experiment of fixed weights"
        )


def _rows(config: Experiments, layer: Layer, experiment: Experiment, now: datetime) -> Iterator[tuple[str, ...]]:
    shares = expected(experiment)
    state, users = _state(config, experiment, now), percent(reached(config, experiment))
    for arm in experiment.arms:
        name = arm.name + (" *" if arm is experiment.control_arm else "")
        share, model = percent(shares[arm.name]), _model(config, arm)
        yield layer.name, experiment.key, str(experiment.phase), state, users, name, share, model


def _model(config: Experiments, arm: Arm) -> str:
    return arm.model or f"{config.default_model} (default)"


def _state(config: Experiments, experiment: Experiment, now: datetime) -> str:
    if config.killed or experiment.killed:
        return "killed"
    if experiment.start and now < experiment.start:
        return f"not started, from {experiment.start:%Y-%m-%d %H:%M %Z}"
    if experiment.end and now >= experiment.end:
        return f"ended {experiment.end:%Y-%m-%d %H:%M %Z}"
    return f"running until {experiment.end:%Y-%m-%d %H:%M %Z}" if experiment.end else "running"


def _size(slots: Slots) -> int:
    return sum(stop - start for start, stop in slots)
