"""What an experiment with so many users can find, by its own measure."""

from dataclasses import dataclass
from math import inf

from service.experiments.config import Experiment
from service.experiments.planning.power import Mean, Ratio, Test, detectable, power_of, users_needed
from service.experiments.readout.ratios import METRICS
from service.experiments.readout.sequential import planned_users

# of rates: users' own rates spread as much as their mean; of value: few buy, and some of them much
_SPREADS = {"ctr": 1.0, "cvr": 1.0, "ctcvr": 1.0, "value": 5.0}
_PER_USER = {"exposures": 10.0, "clicks": 1.0, "users": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What the users are taken for; None: the default of the metric, the effect of the measure."""

    baseline: float = 0.05
    per_user: float | None = None  # of what the metric divides by
    spread: float | None = None
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """An arm against the control at one kind of interval; users are of both together."""

    arm: str
    kind: str  # "one look" or "peek-safe"
    users: int
    detectable: float
    power: float  # to find the effect
    needed: float  # users that find it


def outlooks(experiment: Experiment, users: dict[str, int], assumed: Assumed) -> list[Outlook]:
    """Of every arm that has users, if the control has; alpha is divided by the comparisons."""
    control = experiment.control_arm.name
    others = [arm.name for arm in experiment.arms if arm.name != control and users[arm.name]]
    if not users[control]:
        return []
    measure = experiment.measure
    effect, variation = assumed.effect or measure.effect, model(experiment, assumed).variation
    alpha = measure.alpha / max(1, sum(arm.weight > 0 and arm.name != control for arm in experiment.arms))
    found = []
    for arm in others:
        both = users[control], users[arm]
        share = both[1] / sum(both)
        for kind, planned in (("one look", None), ("peek-safe", planned_users(measure))):
            test = Test(alpha, measure.power, planned)
            reached, power = detectable(variation, *both, test), power_of(effect, variation, *both, test)
            needed = users_needed(effect, variation, share, test)
            found.append(Outlook(arm, kind, sum(both), reached, power, needed))
    return found


def model(experiment: Experiment, assumed: Assumed) -> Ratio | Mean:
    """How one user's part in the primary metric varies."""
    primary = experiment.measure.primary
    spread = _SPREADS[primary] if assumed.spread is None else assumed.spread
    if primary == "value":
        return Mean(spread=spread)
    per_user = _PER_USER[METRICS[primary].denominator] if assumed.per_user is None else assumed.per_user
    return Ratio(rate=assumed.baseline, per_user=per_user, spread=spread)


def days_needed(outlook: Outlook, days: float) -> float:
    """Days until there are enough users, if as many new ones come every day."""
    return inf if outlook.needed == inf else outlook.needed / outlook.users * days
