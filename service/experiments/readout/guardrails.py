"""What must not get worse, over the whole phase; error rate and latency are watched live, by the health of the arms."""

from collections.abc import Iterator, Mapping, Sequence

from service.experiments.config import Guardrails, Measure
from service.experiments.outcomes.sums import ArmSums
from service.experiments.readout.intervals import always_of_lift
from service.experiments.readout.pairs import pair
from service.experiments.readout.ratios import CALIBRATION
from service.experiments.readout.report import Guardrail
from service.experiments.readout.sequential import planned_users

NO_LIMIT = "none"


def guardrails_of(
    sums: Mapping[str, ArmSums], control: str, arms: Sequence[str], limits: Guardrails, measure: Measure
) -> Iterator[Guardrail]:
    """Calibration and fallbacks of every arm but the control."""
    for arm in arms:
        yield _calibration(sums[control], sums[arm], arm, limits.calibration, measure)
        yield _fallbacks(sums[arm], arm, limits)


def _calibration(
    control: ArmSums, of: ArmSums, arm: str, limit: tuple[float, float] | None, measure: Measure
) -> Guardrail:
    """Predicted over observed clicks, the arm's over the control's; breached if its peek-safe interval is outside."""
    both = pair(control.moments, of.moments, CALIBRATION, prior=False)
    value = both.arm.mean / both.control.mean if both else None
    always = always_of_lift(both, planned_users(measure), measure.alpha) if both else None
    outside = False
    if limit and always and always.low is not None and always.high is not None:
        outside = 1 + always.high < limit[0] or 1 + always.low > limit[1]
    said = f"{limit[0]:g} to {limit[1]:g}" if limit else NO_LIMIT
    return Guardrail(name="calibration", arm=arm, value=value, limit=said, breached=outside)


def _fallbacks(of: ArmSums, arm: str, limits: Guardrails) -> Guardrail:
    """Share of the exposures that the control's model served, failed and slow ones alike."""
    exposures = of.moments.total("exposures")
    value = of.fallbacks / exposures if exposures else None
    limit = limits.error_rate
    breached = value is not None and limit is not None and exposures >= limits.min_requests and value > limit
    said = f"up to {limit:g}" if limit is not None else NO_LIMIT
    return Guardrail(name="fallbacks", arm=arm, value=value, limit=said, breached=breached)
