"""Which arm a user meets: two draws, one for the slot and one for the arm.

The unit is the user id as text. The layer's salt gives the slot (who is in), the experiment's salt the arm (which), so
widening an experiment moves nobody who is in it. Layers draw independently; the one whose arms name models decides.
`explanation` walks the same steps: a change here is one there.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import inf
from time import time
from typing import Any, Literal, NamedTuple

from service.errors import UNKNOWN_ARM, ServiceProblem
from service.experiments.config import SLOTS, Arm, Experiment, Experiments, Layer, Scalar
from service.experiments.hashing import ArmDraw, SlotDraw, arm_ranges
from service.experiments.targeting import Condition, condition

Reason = Literal[
    "assigned", "override", "forced", "no-user", "holdout", "not-enrolled", "not-targeted", "not-started", "ended",
    "killed",
]  # fmt: skip
NO_CONTEXT: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Variant:
    """An arm as one experiment serves it; `model` is the reference to load, the default one where the arm has none."""

    experiment: Experiment
    arm: Arm
    model: str


class Decision(NamedTuple):
    """What a request meets, and why; `variant` is None outside every experiment.

    With several layers it is the one whose arm chose the model, else the first that the user is in; `others` are the
    rest. `slot` is the layer's draw, None where none was made.
    """

    model: str
    reason: Reason
    variant: Variant | None = None
    slot: int | None = None
    others: tuple["Decision", ...] = ()

    @property
    def key(self) -> str | None:
        """The experiment."""
        return None if self.variant is None else self.variant.experiment.key

    @property
    def arm(self) -> str | None:
        """The arm that the user is meant to meet."""
        return None if self.variant is None else self.variant.arm.name

    @property
    def phase(self) -> int | None:
        """The phase of the experiment."""
        return None if self.variant is None else self.variant.experiment.phase

    @property
    def ranking(self) -> Mapping[str, float]:
        """Exponents of the ranking formula; empty where no arm has one."""
        return next((each.arm.ranking for each in self.variants if each.arm.ranking), {})

    @property
    def parameters(self) -> dict[str, Scalar]:
        """Parameters of the arms of all layers."""
        return {name: value for each in self.variants for name, value in each.arm.parameters.items()}

    @property
    def variants(self) -> list[Variant]:
        """Those of all layers that the user is in."""
        return [each.variant for each in (self, *self.others) if each.variant is not None]


class Route:
    """One experiment, compiled."""

    def __init__(self, experiment: Experiment, default: str, clock: Callable[[], float]) -> None:
        self.experiment, self._default, self._clock = experiment, default, clock
        self.variants = {arm.name: Variant(experiment, arm, arm.model or default) for arm in experiment.arms}
        weights = [arm.weight for arm in experiment.arms]
        self.draw = ArmDraw(experiment.hash, experiment.draw_salt, weights)
        self.ranges = arm_ranges(experiment.hash, weights, experiment.coverage)
        self._bounds = list(chain.from_iterable(self.ranges))
        # what lies before each bound and after the last: nobody between two arms' ranges
        self._between = [*chain.from_iterable((None, variant) for variant in self.variants.values()), None]
        self.condition: Condition | None = None if experiment.when is None else condition(experiment.when)
        self._start = experiment.start.timestamp() if experiment.start else -inf
        self._end = experiment.end.timestamp() if experiment.end else inf
        self._timed = experiment.start is not None or experiment.end is not None

    def decide(self, user: str, slot: int, context: Mapping[str, Any]) -> Decision:
        """For a user whose slot is in this experiment."""
        shut: Reason | None = self.shut()
        if shut is None and self.condition is not None and not self.condition.holds(context):
            shut = "not-targeted"
        if shut is not None:
            return Decision(self._default, shut, None, slot)
        variant = self.drawn(user)
        if variant is None:
            return Decision(self._default, "not-enrolled", None, slot)
        return Decision(variant.model, "assigned", variant, slot)

    def drawn(self, user: str) -> Variant | None:
        """The variant of the arm's draw; None outside the coverage."""
        return self._between[bisect_right(self._bounds, self.draw.bucket(user))]

    def shut(self) -> Literal["killed", "not-started", "ended"] | None:
        """Why nobody is assigned now, None while it runs."""
        if self.experiment.killed:
            return "killed"
        if self._timed:
            now = self._clock()
            if now < self._start:
                return "not-started"
            if now >= self._end:
                return "ended"
        return None


class LayerRoute:
    """One layer, compiled: slot → experiment, and overrides before that."""

    def __init__(self, layer: Layer, default: str, clock: Callable[[], float]) -> None:
        self.layer, self._default = layer, default
        self.routes = [Route(experiment, default, clock) for experiment in layer.experiments]
        self.draw = SlotDraw(layer.hash, layer.salt)
        self.slot = self.draw.bucket
        self.of_slot: list[Route | None] = [None] * SLOTS
        self.overrides: dict[str, tuple[Route, Variant]] = {}
        for route in self.routes:
            for start, stop in route.experiment.slots:
                self.of_slot[start:stop] = [route] * (stop - start)
            for user, arm in route.experiment.overrides.items():
                self.overrides[user] = (route, route.variants[arm])

    def decide(self, user: str, context: Mapping[str, Any]) -> Decision:
        """An override (before the start too, so that it can be tried; a kill and the end stop it), else the draws."""
        if user in self.overrides:
            route, variant = self.overrides[user]
            if (shut := route.shut()) in ("killed", "ended"):
                return Decision(self._default, shut)
            return Decision(variant.model, "override", variant)
        slot = self.slot(user)
        route_of_slot = self.of_slot[slot]
        if route_of_slot is None:
            return Decision(self._default, "not-enrolled", None, slot)
        return route_of_slot.decide(user, slot, context)


class Assignment:
    """Decides by one configuration; pure and fast, nothing is stored."""

    def __init__(self, config: Experiments, clock: Callable[[], float] = time) -> None:
        self.config = config
        self._default = config.default_model
        self.layers = [LayerRoute(layer, config.default_model, clock) for layer in config.layers]
        self.holdout: SlotDraw | None = None
        self.held = [False] * SLOTS
        if config.holdout is not None:
            self.holdout = SlotDraw("murmur3", config.holdout.salt)
            for start, stop in config.holdout.slots:
                self.held[start:stop] = [True] * (stop - start)

    def decide(
        self, user: str | None, forced_arm: str | None = None, context: Mapping[str, Any] = NO_CONTEXT
    ) -> Decision:
        """The decision for a user; `forced_arm` (ARM or EXPERIMENT/ARM) wins, and raises a problem where unknown."""
        if forced_arm is not None:
            return self._forced(user, forced_arm)
        if user is None:
            return Decision(self._default, "no-user")
        if self.config.killed:
            return Decision(self._default, "killed")
        if self.holdout is not None and self.held[self.holdout.bucket(user)]:
            return Decision(self._default, "holdout")
        if len(self.layers) == 1:
            return self.layers[0].decide(user, context)
        return self._joined([layer.decide(user, context) for layer in self.layers])

    def variants(self) -> list[Variant]:
        """Every arm of every experiment."""
        return [each for layer in self.layers for route in layer.routes for each in route.variants.values()]

    def _joined(self, decisions: list[Decision]) -> Decision:
        """One decision of all layers'."""
        inside = [each for each in decisions if each.variant is not None]
        if not inside:
            return decisions[0] if decisions else Decision(self._default, "not-enrolled")
        first = next((each for each in inside if each.variant and each.variant.arm.model), inside[0])
        return first._replace(others=tuple(each for each in inside if each is not first))

    def _forced(self, user: str | None, name: str) -> Decision:
        key, _, arm = name.rpartition("/")
        having = [each for each in self.variants() if each.arm.name == arm and key in ("", each.experiment.key)]
        if len(having) > 1 and user is not None:  # the user's own experiment says which one is meant
            own = [route and route.experiment for route in (layer.of_slot[layer.slot(user)] for layer in self.layers)]
            having = [each for each in having if each.experiment in own] or having
        if len(having) != 1:
            raise ServiceProblem(UNKNOWN_ARM, f"arm '{name[:64]}' {self._not_one(having)}")
        return Decision(having[0].model, "forced", having[0])

    def _not_one(self, having: list[Variant]) -> str:
        if having:
            written = ", ".join(f"{each.experiment.key}/{each.arm.name}" for each in having)
            return f"is in several experiments; send one of {written}, or the id of a user of one"
        return f"is unknown; known: {', '.join(sorted({each.arm.name for each in self.variants()})) or 'none'}"
