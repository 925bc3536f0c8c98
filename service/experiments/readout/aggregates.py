"""Moments in whole numbers → tea-tasting's Aggregates: means, variances and covariances with n - 1."""

from itertools import combinations

from tea_tasting.aggr import Aggregates

from service.experiments.outcomes.moments import Moments
from service.experiments.readout.ratios import Ratio


def aggregates(moments: Moments, ratio: Ratio) -> Aggregates:
    """Of a ratio's columns and its prior ones, the numerators in the metric's unit; from two users on."""
    units = {ratio.denominator: 1, ratio.prior.denominator: 1, ratio.numerator: ratio.unit}
    units[ratio.prior.numerator] = ratio.unit
    users = moments.total("users")
    return Aggregates(
        count_=users,
        mean_={name: moments.total(name) / (users * unit) for name, unit in units.items()},
        var_={name: _centred(moments, name, name) / unit**2 for name, unit in units.items()},
        cov_={(a, b): _centred(moments, a, b) / (units[a] * units[b]) for a, b in combinations(units, 2)},
    )


def _centred(moments: Moments, one: str, other: str) -> float:
    users = moments.total("users")
    exact = users * moments.product(one, other) - moments.total(one) * moments.total(other)
    return exact / (users * (users - 1))
