"""Each arm by itself: what it has seen, and its metrics."""

from service.experiments.config import Arm, Measure
from service.experiments.log.records import MICROS
from service.experiments.outcomes.moments import Moments
from service.experiments.outcomes.sums import ArmSums
from service.experiments.readout.intervals import UNKNOWN, always_of_sample, fixed_of_sample
from service.experiments.readout.ratios import METRICS, Ratio, mean, sample
from service.experiments.readout.report import ArmReport, Estimate
from service.experiments.readout.sequential import planned_users


def arm_report(arm: Arm, sums: ArmSums, control: bool, measure: Measure) -> ArmReport:
    """One arm."""
    total = sums.moments.total
    return ArmReport(
        name=arm.name,
        control=control,
        weight=arm.weight,
        model=arm.model or "",
        models=sums.models,
        users=total("users"),
        exposures=total("exposures"),
        clicks=total("clicks"),
        conversions=total("conversions"),
        value=total("value") / MICROS,
        fallbacks=sums.fallbacks,
        overridden=sums.overridden,
        dropped=sums.dropped,
        crossed=sums.crossed,
        metrics={name: estimate(sums.moments, ratio, measure) for name, ratio in METRICS.items()},
    )


def estimate(moments: Moments, ratio: Ratio, measure: Measure) -> Estimate:
    """A metric of one arm, its errors by the delta method over users."""
    found = sample(moments, ratio)
    if found is None:
        return Estimate(value=mean(moments, ratio), always=UNKNOWN, fixed=UNKNOWN)
    return Estimate(
        value=found.mean,
        always=always_of_sample(found, planned_users(measure), measure.alpha),
        fixed=fixed_of_sample(found, measure.alpha),
    )
