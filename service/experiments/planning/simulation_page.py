"""A simulation as people read it."""

import math
from collections.abc import Iterator

from service.experiments.change.difference import percent
from service.experiments.config import Metric
from service.experiments.planning.outlook import Assumed, Outlook, days_needed, model, outlooks
from service.experiments.planning.overview import expected, reached
from service.experiments.planning.power import Mean, Ratio
from service.experiments.planning.simulation import ALARM, Balance, Independence, Split, balances, independence
from service.experiments.planning.tables import table
from service.experiments.readout.ratios import METRICS

_SMALL = 0.01  # p of a pair that is shown by name


def lines(drawn: Split, assumed: Assumed, days: float) -> Iterator[str]:
    """Balance and power of every experiment, then how they depend on each other."""
    users = drawn.codes.shape[1]
    yield f"{users:,} users, drawn as if all ran for everybody (no conditions, times, kills, overrides)"
    for balance in balances(drawn):
        yield ""
        share = reached(drawn.config, balance.experiment)
        yield from _split(balance, users, share)
        yield from _power(balance, assumed, days)
    if pairs := independence(drawn):
        yield ""
        yield from _pairs(pairs)


def _split(balance: Balance, users: int, share: float) -> Iterator[str]:
    key, total = balance.experiment.key, balance.total
    yield f"'{key}': {total:,} users, {percent(total / users)} of all; its slots say {percent(share)}"
    wanted = expected(balance.experiment)
    rows = [
        (name, f"{count:,}", percent(count / total if total else 0), percent(wanted[name]))
        for name, count in balance.users.items()
    ]
    yield from table(("arm", "users", "share", "weight"), rows)
    yield f"  balance: {_p(balance.p_value)}{_verdict(balance.p_value, 'arms do not have the users of their weights')}"


def _power(balance: Balance, assumed: Assumed, days: float) -> Iterator[str]:
    experiment = balance.experiment
    measure = experiment.measure
    found = outlooks(experiment, balance.users, assumed)
    if not found:
        yield "  power: no two arms have users"
        return
    effect = percent(assumed.effect or measure.effect)
    yield (
        f"  power for {measure.primary} at two-sided alpha {measure.alpha:g}"
        f"{' over all arms' if len(found) > 2 else ''}, power {measure.power:g};"
    )
    yield f"  {_assumption(measure.primary, model(experiment, assumed))}"
    heading = ("arm", "interval", "detectable lift", f"power for {effect}", "users of both needed", "days")
    yield from table(heading, [_row(each, days) for each in found])


def _row(found: Outlook, days: float) -> tuple[str, ...]:
    needed = "∞" if math.isinf(found.needed) else f"{math.ceil(found.needed):,}"
    until = days_needed(found, days)
    last = "∞" if math.isinf(until) else f"{until:,.1f}" if until < 10 else f"{until:,.0f}"
    return found.arm, found.kind, percent(found.detectable), f"{100 * found.power:.1f} %", needed, last


def _assumption(primary: Metric, taken: Ratio | Mean) -> str:
    if isinstance(taken, Mean):
        return f"standard deviation of a user's {primary} {taken.spread:g} times its mean"
    return (
        f"baseline {percent(taken.rate)}, {taken.per_user:g} {METRICS[primary].denominator} a user, spread "
        f"{taken.spread:g}: each counts as 1/{taken.design_effect:.2f} of an independent one"
    )


def _pairs(pairs: list[Independence]) -> Iterator[str]:
    known = [pair for pair in pairs if pair.p_value is not None]
    small = [pair for pair in known if pair.p_value is not None and pair.p_value < _SMALL]
    yield (
        f"independence of {len(pairs)} pairs across layers: {len(small)} with p below {_SMALL:g} "
        f"(chance alone gives about {len(known) * _SMALL:.1f}), {len(pairs) - len(known)} with too few users"
    )
    for pair in pairs if len(pairs) <= 6 else small:
        yield f"  '{pair.one}' and '{pair.other}': {_p(pair.p_value)}{_verdict(pair.p_value, 'one follows the other')}"


def _p(value: float | None) -> str:
    return "too few users to say" if value is None else f"chi-square p = {value:.3g}"


def _verdict(value: float | None, alarm: str) -> str:
    return "" if value is None else f", ALARM: {alarm}" if value < ALARM else ", as chance has it"
