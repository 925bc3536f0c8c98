"""Peek-safe intervals: the asymptotic confidence sequence of Waudby-Smith et al., arXiv 2103.06476.

The interval holds at all times at once with probability 1 - alpha, so that anybody may look whenever they like and stop
when they like. It is narrowest, for what it can be, where the users are as many as planned. The plan must not depend on
the data: it is a number of the configuration, or what follows from the effect, alpha and power in it.
"""

import math
from statistics import NormalDist

from service.experiments.config import Measure


def planned_users(measure: Measure) -> int:
    """Users of both arms that the intervals are tuned for.

    Where the configuration names none, those who show `effect` at one look if a user's standard deviation is the mean.
    A plan ten times off makes the intervals about a quarter wider.
    """
    if measure.planned_users is not None:
        return measure.planned_users
    normal = NormalDist()
    reach = normal.inv_cdf(1 - measure.alpha / 2) + normal.inv_cdf(measure.power)
    return math.ceil(4 * (reach / measure.effect) ** 2)


def half_width(variance: float, users: float, planned: float, alpha: float) -> float:
    """Half the interval of an estimate with this squared standard error, from so many users."""
    tuned = users * _tuning(planned, alpha) + 1
    return math.sqrt(2 * variance * tuned / (tuned - 1) * (math.log(tuned) / 2 - math.log(alpha)))


def p_value(estimate: float, variance: float, users: float, planned: float, alpha: float) -> float:
    """The smallest level at which the interval, tuned for `alpha`, excludes 0."""
    tuned = users * _tuning(planned, alpha) + 1
    evidence = estimate**2 / variance * (tuned - 1) / (2 * tuned) - math.log(tuned) / 2
    return math.exp(-max(evidence, 0.0))


def users_until(width: float, variance: float, users: float, planned: float, alpha: float) -> float:
    """Users at whom the half-width will be `width`, if each adds as much as one so far; inf beyond a billionfold."""
    low, high = 1.0, 1e9
    if half_width(variance / high, users * high, planned, alpha) > width:
        return math.inf
    for _ in range(60):  # the half-width falls all the way
        middle = math.sqrt(low * high)
        if half_width(variance / middle, users * middle, planned, alpha) > width:
            low = middle
        else:
            high = middle
    return users * high


def _tuning(planned: float, alpha: float) -> float:
    """rho squared: the approximate best for `planned` users."""
    return (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / planned
