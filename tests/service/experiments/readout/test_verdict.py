"""Every verdict, word by word, from whole readouts."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from service.experiments.config import Measure
from service.experiments.outcomes.sums import ArmSums, ExperimentSums, Snapshot
from service.experiments.readout.readout import readout_of
from service.experiments.readout.report import Readout, Verdict
from tests.service.experiments.readout.users import DAY, NOW, counted, draw, experiment, sums

PERCENT = r"−?\d+\.\d+ %"
RANGE = rf"{PERCENT} to {PERCENT}"


def read(found: ExperimentSums, *names: str, weights: Sequence[int] = (), **more: object) -> Readout:
    return readout_of(found, experiment(*names, weights=weights, **more), 1, NOW, {})


def arms(users: int, *lifts: float, **more: object) -> dict[str, ArmSums]:
    """ple, dtn, new …; the control without a lift."""
    names = ("ple", "dtn", "new")
    drawn = {name: draw(users, lift, seed=40 + i) for i, (name, lift) in enumerate(zip(names, lifts, strict=False))}
    return {name: counted(columns, **more) for name, columns in drawn.items()}


def said(verdict: Verdict, pattern: str) -> bool:
    return re.fullmatch(pattern, verdict.sentence) is not None


def test_ship() -> None:
    verdict = read(sums(arms=arms(6000, 0, 0.4))).verdict
    assert (verdict.decision, verdict.arm, verdict.days) == ("ship", "dtn", None)
    assert said(verdict, rf"Ship dtn: ctr is {PERCENT} higher \(peek-safe 95 % interval {RANGE}\)\."), verdict


def test_ship_the_best_of_several() -> None:
    verdict = read(sums(arms=arms(6000, 0, 0.4, 0.8)), "ple", "dtn", "new", weights=[3334, 3333, 3333]).verdict
    assert (verdict.decision, verdict.arm) == ("ship", "new")
    assert "peek-safe 97.5 % interval" in verdict.sentence


def test_stop_what_is_worse() -> None:
    verdict = read(sums(arms=arms(6000, 0, -0.4))).verdict
    assert (verdict.decision, verdict.arm) == ("stop", "dtn")
    assert said(verdict, rf"Stop: ctr of dtn is {PERCENT} lower \(peek-safe 95 % interval {RANGE}\)\."), verdict


def test_one_bad_arm_of_two_does_not_stop_the_other() -> None:
    verdict = read(sums(arms=arms(6000, 0, -0.4, 0.0)), "ple", "dtn", "new", weights=[3334, 3333, 3333]).verdict
    assert (verdict.decision, verdict.arm) == ("wait", "new")


def test_stop_what_cannot_bring_the_effect() -> None:
    verdict = read(sums(arms=arms(6000, 0, 0)), measure=Measure(effect=0.5)).verdict
    assert (verdict.decision, verdict.arm) == ("stop", None)
    sentence = rf"Stop: dtn brings less than the 50 % that is looked for; the lift of dtn in ctr is {RANGE} "
    assert said(verdict, sentence + r"\(peek-safe 95 % interval\)\."), verdict


def test_wait() -> None:
    found = sums(days=20, arms=arms(6000, 0, 0.05))
    verdict = read(found).verdict
    assert (verdict.decision, verdict.arm) == ("wait", "dtn")
    sentence = rf"Wait about (\d+) more days: ctr of dtn is {PERCENT} (higher|lower) so far, its lift {RANGE} "
    assert said(verdict, sentence + r"\(peek-safe 95 % interval\)\."), verdict
    assert verdict.days is not None
    twice = read(sums(days=10, arms=arms(6000, 0, 0.05))).verdict
    assert twice.days == pytest.approx(verdict.days / 2, rel=0.01)


def test_the_days_to_wait_are_right_where_the_lift_stays() -> None:
    first = draw(3000, 0.0, seed=33), draw(3000, 0.1, seed=34)
    before = read(sums(days=10, ple=counted(first[0]), dtn=counted(first[1])))
    assert before.verdict.days is not None
    times = 1 + before.verdict.days / 10
    assert 1.5 < times < 10
    for share, decision in ((0.9, "wait"), (1.1, "ship")):  # the same users over and over: the lift stays
        count = int(3000 * times * share)
        grown = [{name: np.resize(column, count) for name, column in columns.items()} for columns in first]
        after = read(sums(days=10 * times * share, ple=counted(grown[0]), dtn=counted(grown[1])))
        assert after.verdict.decision == decision, share


def test_without_a_lift_the_wait_is_for_the_effect_to_be_ruled_out() -> None:
    columns = draw(3000, seed=33)
    found = read(sums(days=10, ple=counted(columns), dtn=counted(columns)), measure=Measure(effect=0.1))
    assert (found.verdict.decision, found.comparisons[0].lift) == ("wait", 0)
    assert found.verdict.days is not None
    times = 1.1 * (1 + found.verdict.days / 10)
    grown = counted({name: np.resize(column, int(3000 * times)) for name, column in columns.items()})
    after = read(sums(days=10 * times, ple=grown, dtn=grown), measure=Measure(effect=0.1)).verdict
    assert after.sentence.startswith("Stop: dtn brings less than the 10 % that is looked for")


def test_wait_too_long() -> None:
    verdict = read(sums(days=60, arms=arms(400, 0, 0.02))).verdict
    assert verdict.decision == "wait"
    assert verdict.sentence.startswith("Wait more than 90 days: ctr of dtn is ")
    assert verdict.sentence.endswith("; the 5 % that is looked for is too small for this traffic.")


def test_wait_with_too_little_data() -> None:
    verdict = read(sums(arms=arms(20, 0, 0))).verdict
    assert verdict == Verdict(decision="wait", sentence="Wait: too little data yet for an interval of ctr (40 users).")


def test_wait_where_nobody_new_comes() -> None:
    found = sums(days=20, arms=arms(6000, 0, 0.05))
    at = found.first + 9 * DAY
    found.snapshots = [Snapshot(time=at, arms={name: arm.moments for name, arm in found.arms.items()})]
    assert read(found).verdict.sentence.endswith("interval); no new users come in.")


def test_no_data() -> None:
    verdict = read(ExperimentSums(key="dtn-vs-ple", phase=1, first=0, last=0)).verdict
    assert verdict.decision == "no-data"
    assert verdict.sentence == "No data: no user has been assigned and exposed in this phase yet."


def test_an_alarm_withholds_what_would_ship() -> None:
    found = arms(6000, 0, 0.4)
    found["dtn"] = counted(draw(6600, 0.4, seed=21))
    verdict = read(sums(arms=found)).verdict
    assert verdict.decision == "withheld"
    assert verdict.sentence == (
        "Withheld: the arms do not have the users that their weights say (users: ple 6,000 instead of 6,300, dtn 6,600 "
        "instead of 6,300 (p 9e-08)); no lift can be trusted until the cause is found."
    )


def test_a_breached_guardrail_stops_what_would_ship() -> None:
    found = arms(6000, 0, 0.4)
    found["dtn"] = counted(draw(6000, 0.4, seed=21), fallbacks=5000)
    verdict = read(sums(arms=found), guardrails={"error_rate": 0.02}).verdict
    assert (verdict.decision, verdict.arm) == ("stop", "dtn")
    assert re.fullmatch(
        r"Stop: dtn breaks the guardrail fallbacks: 0\.\d+, the limit is up to 0\.02\.", verdict.sentence
    )


@pytest.mark.parametrize("over", [{"end": datetime.fromtimestamp(NOW, UTC) - timedelta(hours=1)}, {"killed": True},
                                  {"phase": 2}])  # fmt: skip
def test_what_has_ended_undecided_stops(over: dict[str, Any]) -> None:
    verdict = read(sums(arms=arms(6000, 0, 0.05)), **over).verdict
    assert verdict.decision == "stop"
    assert verdict.sentence.startswith("Stop: the experiment has ended undecided: the lift of dtn in ctr is ")
    assert verdict.sentence.endswith(" Keep ple.")
    assert read(sums(arms=arms(6000, 0, 0.4)), **over).verdict.decision == "ship"
