"""Every arm against the control in every metric."""

from collections.abc import Mapping, Sequence

from service.experiments.config import Measure
from service.experiments.outcomes.moments import Moments
from service.experiments.readout.corrections import Key, family, holm
from service.experiments.readout.intervals import (
    UNKNOWN,
    always_of_lift,
    detectable,
    fixed_of_lift,
    one_look,
    power_of,
)
from service.experiments.readout.pairs import Pair, pair
from service.experiments.readout.ratios import METRICS, mean
from service.experiments.readout.report import Comparison
from service.experiments.readout.sequential import p_value, planned_users


def compare_all(
    moments: Mapping[str, Moments], control: str, arms: Sequence[str], measure: Measure
) -> list[Comparison]:
    """All metrics of all `arms` (without the control), the primary metric first, corrected."""
    names = sorted(METRICS, key=lambda name: name != measure.primary)
    compared: dict[Key, Comparison] = {}
    for name in names:
        share = measure.alpha / max(1, len(family(name, measure.primary, arms)))
        for arm in arms:
            compared[name, arm] = compare(name, moments, control, arm, measure, share)
    for name in names[:2]:  # one of either family
        keys = family(name, measure.primary, arms)
        known = {key: value for key in keys if (value := compared[key].p_value) is not None}
        # what cannot be told yet will be: it counts in the family from the start
        adjusted = holm({key: known.get(key, 1.0) for key in keys}, measure.alpha)
        for key in known:
            compared[key].adjusted = adjusted[key]
    return list(compared.values())


def compare(
    name: str, moments: Mapping[str, Moments], control: str, arm: str, measure: Measure, share: float
) -> Comparison:
    """One arm in one metric; `share` of alpha is the peek-safe interval's."""
    first, second, ratio = moments[control], moments[arm], METRICS[name]
    means = mean(first, ratio), mean(second, ratio)
    both = pair(first, second, ratio, prior=measure.prior_days > 0)
    if both is None:
        return _bare(name, arm, control, means, share)
    look = one_look(first, second, ratio, both.cuped, measure.alpha)
    planned = planned_users(measure)
    always = always_of_lift(both, planned, share)
    return Comparison(
        metric=name,
        arm=arm,
        control=control,
        difference=both.difference,
        lift=both.lift,
        level=1 - share,
        always=always,
        fixed=fixed_of_lift(look),
        always_p=_always_p(both, planned, measure.alpha),
        p_value=look.pvalue if look else None,
        adjusted=None,
        cuped=both.cuped,
        variance_reduction=both.reduction,
        significant=always.low is not None and always.high is not None and not always.low <= 0 <= always.high,
        power=power_of(both, measure.effect, measure.alpha),
        detectable=detectable(both, measure.power, measure.alpha),
    )


def _always_p(both: Pair, planned: int, alpha: float) -> float | None:
    return p_value(both.lift, both.lift_variance, both.users, planned, alpha) if both.steady else None


def _bare(name: str, arm: str, control: str, means: tuple[float | None, float | None], share: float) -> Comparison:
    """What can be said without errors."""
    first, second = means
    return Comparison(
        metric=name,
        arm=arm,
        control=control,
        difference=second - first if first is not None and second is not None else None,
        lift=second / first - 1 if first is not None and second is not None and first > 0 else None,
        level=1 - share,
        always=UNKNOWN,
        fixed=UNKNOWN,
        always_p=None,
        p_value=None,
        adjusted=None,
        cuped=False,
        variance_reduction=None,
        significant=False,
        power=None,
        detectable=None,
    )
