"""What this process knows of the arms of a plan: how they fare, who stands in for them, who shadows them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic

from service.experiments.arms.breaker import Breaker
from service.experiments.arms.comparison import Comparison
from service.experiments.arms.health import MINUTES, ArmCounts, Window
from service.experiments.assignment import Variant
from service.scoring.plan import Plan
from service.scoring.registry import Served
from service.scoring.shadow import Shadow


@dataclass(frozen=True, slots=True)
class StandIn:
    """The control, where its model is another than the arm's."""

    variant: Variant
    served: Served


@dataclass(frozen=True, slots=True)
class ArmState:
    """An arm of the plan in force; `window` and `breaker` outlive a plan that keeps its model."""

    variant: Variant
    window: Window
    breaker: Breaker
    stand_in: StandIn | None
    slow: float  # seconds from routing to scores; inf where nobody stands in or no limit is set
    extras: bool  # it has a formula or parameters
    shadow: Shadow | None

    def counts(self) -> ArmCounts:
        """Of the window."""
        experiment = self.variant.experiment
        return self.window.counts(experiment.key, experiment.phase, self.variant.arm.name, self.breaker.state)


_Key = tuple[str, int, str, str]  # experiment, phase, arm, bundle
_Known = tuple[Window, Breaker]
_Shadowed = tuple[_Key, str]  # the shadow's name@version


class Arms:
    """Arms of the plan in force, by the id of their variant: a plan keeps its variants, and hashing one is slow."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._known: dict[_Key, _Known] = {}
        self._comparisons: dict[_Shadowed, Comparison] = {}
        self._states: dict[int, ArmState] = {}

    def __iter__(self) -> Iterator[ArmState]:
        return iter(self._states.values())

    def adopt(self, plan: Plan) -> Mapping[int, ArmState]:
        """States of this plan's arms; counts of a killed experiment, or of a model that went, are dropped."""
        known: dict[_Key, _Known] = {}
        comparisons: dict[_Shadowed, Comparison] = {}
        states = {}
        for variant in plan.assignment.variants():
            if not variant.experiment.killed and not plan.source.config.killed:
                states[id(variant)] = self._state(plan, variant, known, comparisons)
        self._known, self._comparisons, self._states = known, comparisons, states
        return states

    def _state(
        self, plan: Plan, variant: Variant, known: dict[_Key, _Known], comparisons: dict[_Shadowed, Comparison]
    ) -> ArmState:
        experiment, arm, served = variant.experiment, variant.arm, plan.models[variant.model]
        key = (experiment.key, experiment.phase, arm.name, str(served.model.bundle.path))
        minutes = experiment.guardrails.minutes if experiment.guardrails else MINUTES
        window, breaker = self._known.get(key) or (Window(minutes), Breaker(self._clock))
        window.cover(minutes)
        known[key] = window, breaker
        stand_in = _stand_in(plan, variant)
        limit = inf if stand_in is None or experiment.slow_ms is None else experiment.slow_ms / 1000
        shadow = self._shadow(plan, variant, key, comparisons)
        return ArmState(variant, window, breaker, stand_in, limit, bool(arm.ranking or arm.parameters), shadow)

    def _shadow(
        self, plan: Plan, variant: Variant, key: _Key, comparisons: dict[_Shadowed, Comparison]
    ) -> Shadow | None:
        if variant.arm.shadow is None:
            return None
        served = plan.models[variant.arm.shadow.model]
        name = f"{served.model.manifest.model}@{served.model.manifest.version}"
        comparison = self._comparisons.get((key, name)) or Comparison(variant.experiment.key, variant.arm.name, name)
        comparisons[key, name] = comparison
        return Shadow(variant, plan.models[variant.model], served, comparison)


def _stand_in(plan: Plan, variant: Variant) -> StandIn | None:
    """None for the control itself, and where the same model would fail again."""
    control = variant.experiment.control_arm
    reference = control.model or plan.source.config.default_model
    served = plan.models[reference]
    if control.name == variant.arm.name or served is plan.models[variant.model]:
        return None
    return StandIn(Variant(variant.experiment, control, reference), served)
