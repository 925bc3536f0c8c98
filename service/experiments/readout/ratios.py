"""The metrics, each a ratio of two sums over users, and the exact mean and standard error of one arm."""

from dataclasses import dataclass
from typing import NamedTuple

from service.experiments.log.records import MICROS
from service.experiments.outcomes.moments import Moments

LEAST_USERS = 100
WIDEST = 0.25  # relative standard error of a ratio whose distribution may be called normal: about 16 events


class Ratio(NamedTuple):
    """Columns of the moments. The prior ones are the same of the days before, for CUPED."""

    numerator: str
    denominator: str
    unit: int = 1  # what one of the metric is in the numerator's column

    @property
    def prior(self) -> "Ratio":
        """The same ratio before the experiment."""
        denominator = self.denominator if self.denominator == "users" else f"prior_{self.denominator}"
        return Ratio(f"prior_{self.numerator}", denominator, self.unit)

    @property
    def columns(self) -> tuple[str, str | None]:
        """As tea-tasting names them: no denominator for a mean over users."""
        return self.numerator, None if self.denominator == "users" else self.denominator


METRICS = {
    "ctr": Ratio("clicks", "exposures"),
    "cvr": Ratio("conversions", "clicks"),
    "ctcvr": Ratio("conversions", "exposures"),
    "value": Ratio("value", "users", MICROS),
}
CALIBRATION = Ratio("predicted", "clicks", MICROS)


@dataclass(frozen=True)
class Sample:
    """A mean, the square of its standard error, and the users behind it."""

    mean: float
    variance: float
    users: int

    @property
    def steady(self) -> bool:
        """Whether there is enough to call it normal."""
        return self.users >= LEAST_USERS and 0 < self.variance <= (WIDEST * self.mean) ** 2


def mean(moments: Moments, ratio: Ratio) -> float | None:
    """The ratio of the sums; None where the lower one is 0."""
    below = moments.total(ratio.denominator)
    return moments.total(ratio.numerator) / (ratio.unit * below) if below else None


def sample(moments: Moments, ratio: Ratio) -> Sample | None:
    """Mean and delta-method error over users; None where there are under two, or the lower sum is 0."""
    users, above, below = (moments.total(name) for name in ("users", ratio.numerator, ratio.denominator))
    if users < 2 or not below:
        return None
    spread = (  # sum over users of (y·Σx - x·Σy)²: in whole numbers, so 0 where y is the same multiple of x for all
        below**2 * moments.product(ratio.numerator, ratio.numerator)
        - 2 * above * below * moments.product(ratio.numerator, ratio.denominator)
        + above**2 * moments.product(ratio.denominator, ratio.denominator)
    )
    variance = spread * users / ((users - 1) * ratio.unit**2 * below**4)
    return Sample(above / (ratio.unit * below), variance, users)


def pooled(one: Moments, other: Moments) -> Moments:
    """Moments of both arms' users."""
    return Moments(products=[a + b for a, b in zip(one.products, other.products, strict=True)])
