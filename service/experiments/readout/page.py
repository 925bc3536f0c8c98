"""A readout as text for a terminal."""

from collections.abc import Iterator, Sequence

from service.experiments.readout.report import ArmReport, Comparison, Estimate, Readout
from service.experiments.readout.wording import UNKNOWN, lift, lifts, number, percent

_AT_LEAST = 1e-300


def lines(readout: Readout) -> Iterator[str]:
    """The verdict first."""
    yield readout.verdict.sentence
    yield ""
    started = f"since {readout.started} ({readout.days:.1f} days)" if readout.started else "not started"
    yield f"{readout.key}, phase {readout.phase}, {started}; configuration {readout.config_version}; {readout.as_of}"
    yield ""
    yield from _table([_ARM_HEAD, *map(_arm_row, readout.arms)])
    yield ""
    yield from _table([_COMPARISON_HEAD, *map(_comparison_row, readout.comparisons)])
    yield (
        f"peek-safe intervals hold however often they are looked at, tuned for {readout.planned_users:,} users of two "
        f"arms; those at one look ({percent(1 - readout.alpha)}) only for a look planned beforehand. "
        f"power: to find {percent(readout.effect)} at one look"
    )
    yield ""
    yield _sample_ratio(readout)
    yield from (f"  {alarm}" for alarm in readout.sample_ratio.alarms)
    for guardrail in readout.guardrails:
        state = "BREACHED" if guardrail.breached else "ok"
        value = f"{number(guardrail.value)}, limit {guardrail.limit}"
        yield f"guardrail {guardrail.name} of {guardrail.arm}: {value}: {state}"
    yield from (f"note: {warning}" for warning in readout.warnings)


_ARM_HEAD = ("arm", "users", "exposures", "clicks", "conversions", "ctr", "cvr", "ctcvr", "value a user", "model")
_COMPARISON_HEAD = ("metric", "arm", "lift", "peek-safe", "level", "p", "one look", "p", "Holm", "CUPED", "power")


def _arm_row(arm: ArmReport) -> Sequence[str]:
    counts = (f"{count:,}" for count in (arm.users, arm.exposures, arm.clicks, arm.conversions))
    metrics = (_estimate(arm.metrics[name]) for name in ("ctr", "cvr", "ctcvr", "value"))
    return (f"{arm.name}{' (control)' if arm.control else ''}", *counts, *metrics, arm.model or "the default")


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None or estimate.fixed.low is None or estimate.fixed.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} ± {(estimate.fixed.high - estimate.fixed.low) / 2:.2g}"


def _comparison_row(each: Comparison) -> Sequence[str]:
    return (
        each.metric,
        each.arm,
        lift(each.lift),
        lifts(each.always) + (" *" if each.significant else ""),
        percent(each.level),
        _p(each.always_p),
        lifts(each.fixed),
        _p(each.p_value),
        _p(each.adjusted),
        f"−{lift(each.variance_reduction)}" if each.variance_reduction is not None else UNKNOWN,
        lift(each.power),
    )


def _sample_ratio(readout: Readout) -> str:
    ratio = readout.sample_ratio
    state = "ALARM, the verdict is withheld" if ratio.alarm else "ok"
    users = ", ".join(f"{name} {users:,} of {ratio.expected[name]:,.0f}" for name, users in ratio.observed.items())
    p_value = "too few users to tell" if ratio.p_value is None else f"p {_p(ratio.p_value)}"
    return f"sample ratio: {state} ({p_value}; {users} expected)"


def _p(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.2g}" if value >= _AT_LEAST else "0"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
