"""An arm beside the control in one metric: means and errors, after CUPED where the prior period helps."""

from dataclasses import dataclass

from tea_tasting.aggr import Aggregates

from service.experiments.outcomes.moments import Moments
from service.experiments.readout.aggregates import aggregates
from service.experiments.readout.ratios import Ratio, Sample, pooled, sample

_NOTHING_LEFT = 1e-9  # share of the variance; below, what is left of it is rounding


@dataclass(frozen=True)
class Pair:
    """Two samples of means above 0, at least one of which varies."""

    control: Sample
    arm: Sample
    cuped: bool
    reduction: float | None  # share of the difference's variance that CUPED took away

    @property
    def users(self) -> int:
        """Of both."""
        return self.control.users + self.arm.users

    @property
    def difference(self) -> float:
        """The arm's mean less the control's."""
        return self.arm.mean - self.control.mean

    @property
    def difference_variance(self) -> float:
        """Squared standard error of the difference."""
        return self.arm.variance + self.control.variance

    @property
    def lift(self) -> float:
        """The difference relative to the control."""
        return self.arm.mean / self.control.mean - 1

    @property
    def lift_variance(self) -> float:
        """Squared standard error of the lift, by the delta method."""
        ratio = self.arm.mean / self.control.mean
        return (self.arm.variance + ratio**2 * self.control.variance) / self.control.mean**2

    @property
    def steady(self) -> bool:
        """Whether both are large enough for what only holds for many users."""
        return self.control.steady and self.arm.steady


def pair(control: Moments, arm: Moments, ratio: Ratio, prior: bool) -> Pair | None:
    """The pair; with `prior` after CUPED where that can be done. None where there is too little to compare."""
    first, second = sample(control, ratio), sample(arm, ratio)
    if first is None or second is None or min(first.mean, second.mean) <= 0 or not first.variance + second.variance:
        return None
    plain = Pair(first, second, False, None)
    return (_adjusted(plain, control, arm, ratio) if prior else None) or plain


def _adjusted(plain: Pair, control: Moments, arm: Moments, ratio: Ratio) -> Pair | None:
    """CUPED with one coefficient for both arms, as tea-tasting's."""
    before = sample(pooled(control, arm), ratio.prior)
    both_have = all(each.total(ratio.prior.denominator) for each in (control, arm))
    if not plain.steady or not both_have or before is None or not before.steady:
        return None
    of = aggregates(control, ratio), aggregates(arm, ratio)
    both, old = of[0] + of[1], ratio.prior.columns
    slope = both.ratio_cov(*ratio.columns, *old) / both.ratio_var(*old)
    first, second = (
        _shifted(each, aggregate, ratio, slope, before.mean)
        for each, aggregate in zip((plain.control, plain.arm), of, strict=True)
    )
    left = (first.variance + second.variance) / plain.difference_variance
    if not _NOTHING_LEFT < left < 1 or min(first.mean, second.mean) <= 0 or min(first.variance, second.variance) < 0:
        return None
    return Pair(first, second, True, 1 - left)


def _shifted(plain: Sample, of: Aggregates, ratio: Ratio, slope: float, centre: float) -> Sample:
    """The sample less `slope` times what its prior mean has above the centre."""
    numerator, denominator = ratio.prior.columns
    prior = of.mean(numerator) / (of.mean(denominator) if denominator else 1)
    common = of.ratio_cov(*ratio.columns, numerator, denominator)
    change = slope**2 * of.ratio_var(numerator, denominator) - 2 * slope * common
    return Sample(plain.mean - slope * (prior - centre), plain.variance + change / plain.users, plain.users)
