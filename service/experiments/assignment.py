"""Which arm a user meets: two draws of murmur3_x86_32, one for the slot and one for the arm.

The unit is the user id as text. The layer's salt gives the slot (who is in), the experiment's salt the arm (which), so
widening an experiment moves nobody who is in it.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import mmh3

from service.errors import UNKNOWN_ARM, ServiceProblem
from service.experiments.config import SLOTS, Arm, Experiment, Experiments, Layer

Reason = Literal["assigned", "override", "forced", "not-enrolled", "no-user"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The model to use and why; key and arm are None outside every experiment."""

    model: str
    reason: Reason
    key: str | None = None
    arm: str | None = None


def slot_of(salt: str, unit: str) -> int:
    """The slot in [0, 10000) of a unit under a salt."""
    return (_hash(salt, unit) * SLOTS) >> 32


def _hash(salt: str, unit: str) -> int:
    return mmh3.hash(f"{salt}:{unit}".encode(), 0, signed=False)


class Assignment:
    """Decides by one configuration; pure and fast, nothing is stored."""

    def __init__(self, config: Experiments) -> None:
        self.config = config
        self._default = config.default_model

    def decide(self, user: str | None, forced_arm: str | None = None) -> Decision:
        """The decision for a user; `forced_arm` wins, and raises a problem where no experiment has it."""
        if forced_arm is not None:
            return self._forced(user, forced_arm)
        if user is None:
            return Decision(self._default, "no-user")
        for layer in self.config.layers:
            for experiment in layer.experiments:
                if user in experiment.overrides:
                    return _decision(experiment, _arm(experiment, experiment.overrides[user]), "override")
            if enrolled := _enrolled(layer, user):
                return _decision(enrolled, _drawn_arm(enrolled, user), "assigned")
        return Decision(self._default, "not-enrolled")

    def explain(self, user: str) -> list[dict[str, object]]:
        """The draws behind the decision for a user, in order."""
        steps: list[dict[str, object]] = []
        for layer in self.config.layers:
            listed = [experiment.key for experiment in layer.experiments if user in experiment.overrides]
            steps.append({"step": "overrides", "layer": layer.name, "experiment": listed[0] if listed else None})
            enrolled = _enrolled(layer, user)
            draw = _shown_draw(layer.salt, user)
            steps.append({"step": "slot", "layer": layer.name, **draw, "experiment": enrolled and enrolled.key})
            if enrolled:
                arm = _drawn_arm(enrolled, user)
                ranges = {arm.name: list(bounds) for arm, bounds in _ranges(enrolled)}
                draw = _shown_draw(enrolled.salt, user)
                steps.append({"step": "arm", "experiment": enrolled.key, **draw, "ranges": ranges, "arm": arm.name})
        return steps

    def arms(self) -> list[tuple[str, Arm]]:
        """Every arm and the key of its experiment."""
        return [(e.key, arm) for layer in self.config.layers for e in layer.experiments for arm in e.arms]

    def _forced(self, user: str | None, name: str) -> Decision:
        having = [e for layer in self.config.layers for e in layer.experiments if any(a.name == name for a in e.arms)]
        if len(having) > 1 and user is not None:  # the user's own experiment says which one is meant
            enrolled = [_enrolled(layer, user) for layer in self.config.layers]
            having = [experiment for experiment in having if experiment in enrolled] or having
        if len(having) != 1:
            known = ", ".join(sorted({arm.name for _, arm in self.arms()})) or "none"
            what = (
                "is in several experiments; send the id of a user of one" if having else f"is unknown; known: {known}"
            )
            raise ServiceProblem(UNKNOWN_ARM, f"arm '{name[:64]}' {what}")
        return _decision(having[0], _arm(having[0], name), "forced")


def _decision(experiment: Experiment, arm: Arm, reason: Reason) -> Decision:
    return Decision(arm.model, reason, experiment.key, arm.name)


def _enrolled(layer: Layer, user: str) -> Experiment | None:
    slot = slot_of(layer.salt, user)
    for experiment in layer.experiments:
        if any(start <= slot < stop for start, stop in experiment.slots):
            return experiment
    return None


def _ranges(experiment: Experiment) -> list[tuple[Arm, tuple[int, int]]]:
    ends = list(accumulate(arm.weight for arm in experiment.arms))
    return [(arm, (end - arm.weight, end)) for arm, end in zip(experiment.arms, ends, strict=True)]


def _drawn_arm(experiment: Experiment, user: str) -> Arm:
    slot = slot_of(experiment.salt, user)
    return next(arm for arm, (start, stop) in _ranges(experiment) if start <= slot < stop)


def _arm(experiment: Experiment, name: str) -> Arm:
    return next(arm for arm in experiment.arms if arm.name == name)


def _shown_draw(salt: str, user: str) -> dict[str, object]:
    return {"input": f"{salt}:{user}", "hash": _hash(salt, user), "slot": slot_of(salt, user)}
