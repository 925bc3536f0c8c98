"""How small a lift the traffic can find: normal approximations at the user level.

The relative lift of an arm over the control has standard error  se = sqrt(V · (1/n_control + 1/n_arm)),  where V is
the squared coefficient of variation of one user's part in the metric, and the same in both arms. With critical value c,
power is Φ(lift/se − c) + Φ(−lift/se − c); the detectable lift is (c + z_power) · se.

fixed horizon   c = z(1 − alpha/2)
peek-safe       c = half the interval of readout/sequential.py over se, at the users of both arms

It knows nothing of configurations; alpha is that of one comparison, corrected beforehand where there are several.
"""

from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

from service.experiments.readout.sequential import half_width

_NORMAL = NormalDist()
_MOST_USERS = 1e15  # beyond it, no traffic will do


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio of sums, such as clicks over exposures; `rate` is its value over all users.

    `per_user` is how many of the denominator a user has on average; they spread geometrically from 1. `spread` is the
    standard deviation of the users' own rates over `rate`: 0 where all click alike.
    """

    rate: float
    per_user: float
    spread: float

    @property
    def correlation(self) -> float:
        """Of two exposures of one user."""
        return min(1.0, self.spread**2 * self.rate / (1 - self.rate))

    @property
    def design_effect(self) -> float:
        """Variance over that of as many independent exposures; E[M²]/E[M] − 1 is 2·(per_user − 1) when geometric."""
        return 1 + 2 * max(0.0, self.per_user - 1) * self.correlation

    @property
    def variation(self) -> float:
        """V of the module's docstring."""
        return (1 - self.rate) / (self.rate * self.per_user) * self.design_effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean per user; `spread` is the standard deviation over it."""

    spread: float

    @property
    def variation(self) -> float:
        """V of the module's docstring."""
        return self.spread**2


@dataclass(frozen=True, slots=True)
class Test:
    """Two-sided, of an arm against the control; peek-safe where users of both are `planned`."""

    __test__ = False  # pytest collects classes of this name

    alpha: float
    power: float
    planned: float | None = None

    def critical(self, users: float) -> float:
        """Standard errors that the lift must be away from 0 with `users` in both arms."""
        if self.planned is None:
            return _NORMAL.inv_cdf(1 - self.alpha / 2)
        return half_width(1.0, users, self.planned, self.alpha)


def standard_error(variation: float, control: float, arm: float) -> float:
    """Of the relative lift, with so many users in each."""
    return sqrt(variation * (1 / control + 1 / arm))


def power_of(lift: float, variation: float, control: float, arm: float, test: Test) -> float:
    """The chance that this lift is found at one look with so many users in each."""
    away = lift / standard_error(variation, control, arm)
    critical = test.critical(control + arm)
    return _NORMAL.cdf(away - critical) + _NORMAL.cdf(-away - critical)


def detectable(variation: float, control: float, arm: float, test: Test) -> float:
    """The smallest relative lift that is found with the test's power."""
    wanted = test.critical(control + arm) + _NORMAL.inv_cdf(test.power)
    return wanted * standard_error(variation, control, arm)


def users_needed(lift: float, variation: float, share: float, test: Test) -> float:
    """Users of control and arm together that find a lift; `share` of them are the arm's. Infinite where none do."""

    def enough(users: float) -> bool:
        return detectable(variation, users * (1 - share), users * share, test) <= lift

    low, high = 1.0, 2.0
    while not enough(high):
        low, high = high, high * 2
        if high > _MOST_USERS:
            return inf
    while high - low > max(1e-3, high * 1e-9):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
