"""What to do, in one plain sentence.

Ship where an arm's peek-safe interval lies above 0. Stop where all arms' lie below it, or below the effect that is
looked for, or where a guardrail is breached. Wait otherwise, and say how long: until the interval is so narrow that it
excludes either 0 or the effect, if the lift stays what it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.experiments.readout.pairs import Pair
from service.experiments.readout.report import Comparison, Guardrail, Interval, SampleRatio, Verdict
from service.experiments.readout.sequential import users_until
from service.experiments.readout.wording import days as about
from service.experiments.readout.wording import higher, lifts, percent

LONGEST = 90.0  # days; waiting longer is not advice


@dataclass(frozen=True)
class Traffic:
    """What it is waited with."""

    users_a_day: float  # new ones, of all arms
    users: int  # of all arms
    ended: bool  # no more of them come


@dataclass(frozen=True)
class Question:
    """The primary metric: what was compared, and what it is looked for."""

    primary: Sequence[Comparison]  # of each arm
    pairs: Mapping[str, Pair | None]  # by arm
    effect: float
    planned: int
    control: str


def decide(asked: Question, ratio: SampleRatio, guardrails: Sequence[Guardrail], traffic: Traffic) -> Verdict:
    """The verdict."""
    if not traffic.users:
        return Verdict(decision="no-data", sentence="No data: no user has been assigned and exposed in this phase yet.")
    if ratio.alarm:
        return Verdict(
            decision="withheld",
            sentence=f"Withheld: the arms do not have the users that their weights say ({ratio.alarms[0]}); "
            "no lift can be trusted until the cause is found.",
        )
    if broken := [guardrail for guardrail in guardrails if guardrail.breached]:
        return _breached(broken[0])
    return _of_primary(asked, traffic)


def _breached(guardrail: Guardrail) -> Verdict:
    value = "unknown" if guardrail.value is None else f"{guardrail.value:.3g}"
    sentence = f"Stop: {guardrail.arm} breaks the guardrail {guardrail.name}: {value}, the limit is {guardrail.limit}."
    return Verdict(decision="stop", arm=guardrail.arm, sentence=sentence)


def _of_primary(asked: Question, traffic: Traffic) -> Verdict:
    known = [each for each in asked.primary if each.lift is not None and each.always.low is not None]
    winners = [each for each in known if each.significant and (each.lift or 0) > 0]
    if winners:
        best = max(winners, key=_lift)
        return Verdict(decision="ship", arm=best.arm, sentence=f"Ship {best.arm}: {best.metric} is {_found(best)}.")
    if known and len(known) == len(asked.primary):
        if all(each.significant for each in known):
            return _worse(known)
        if all((each.always.high or 0) < asked.effect for each in known):
            return _futile(known, asked.effect)
    if traffic.ended:
        return _undecided(known, asked)
    return _wait(max(known, key=_lift), asked, traffic) if known else _too_little(asked, traffic)


def _worse(known: Sequence[Comparison]) -> Verdict:
    best = max(known, key=_lift)
    others = " Every other arm is worse, too." if len(known) > 1 else ""
    sentence = f"Stop: {best.metric} of {best.arm} is {_found(best)}.{others}"
    return Verdict(decision="stop", arm=best.arm, sentence=sentence)


def _futile(known: Sequence[Comparison], effect: float) -> Verdict:
    best = max(known, key=_lift)
    who = f"{best.arm} brings" if len(known) == 1 else "every arm brings"
    sentence = (
        f"Stop: {who} less than the {percent(effect)} that is looked for; the lift of {best.arm} in {best.metric} "
        f"is {_range(best)}."
    )
    return Verdict(decision="stop", sentence=sentence)


def _undecided(known: Sequence[Comparison], asked: Question) -> Verdict:
    what = f"the lift of {(best := max(known, key=_lift)).arm} in {best.metric} is {_range(best)}" if known else (
        "there is too little data for an interval"
    )  # fmt: skip
    sentence = f"Stop: the experiment has ended undecided: {what}. Keep {asked.control}."
    return Verdict(decision="stop", sentence=sentence)


def _wait(best: Comparison, asked: Question, traffic: Traffic) -> Verdict:
    days = _days(best, asked, traffic)
    so_far = f"{best.metric} of {best.arm} is {higher(_lift(best))} so far, its lift {_range(best)}"
    if days is None:
        return Verdict(decision="wait", arm=best.arm, sentence=f"Wait: {so_far}; no new users come in.")
    if days > LONGEST:
        return Verdict(
            decision="wait",
            arm=best.arm,
            days=days if math.isfinite(days) else None,
            sentence=f"Wait more than {LONGEST:.0f} days: {so_far}; the {percent(asked.effect)} that is looked for is "
            "too small for this traffic.",
        )
    return Verdict(decision="wait", arm=best.arm, days=days, sentence=f"Wait {about(days)}: {so_far}.")


def _too_little(asked: Question, traffic: Traffic) -> Verdict:
    metric = asked.primary[0].metric if asked.primary else "metric"
    sentence = f"Wait: too little data yet for an interval of {metric} ({traffic.users:,} users)."
    return Verdict(decision="wait", sentence=sentence)


def _days(best: Comparison, asked: Question, traffic: Traffic) -> float | None:
    """Until the leading arm's interval can exclude 0 or the effect; None where no users come."""
    both = asked.pairs[best.arm]
    if both is None or traffic.users_a_day <= 0:
        return None
    width = max(both.lift, asked.effect - both.lift)
    needed = users_until(width, both.lift_variance, both.users, asked.planned, 1 - best.level)
    return (needed / both.users - 1) * traffic.users / traffic.users_a_day


def _lift(comparison: Comparison) -> float:
    return -math.inf if comparison.lift is None else comparison.lift


def _found(comparison: Comparison) -> str:
    return f"{higher(_lift(comparison))} ({_interval(comparison.always, comparison.level)})"


def _range(comparison: Comparison) -> str:
    return f"{lifts(comparison.always)} (peek-safe {percent(comparison.level)} interval)"


def _interval(interval: Interval, level: float) -> str:
    return f"peek-safe {percent(level)} interval {lifts(interval)}"
