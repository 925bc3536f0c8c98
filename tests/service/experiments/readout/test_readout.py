"""The whole: nothing at all, little, much; never a NaN, an exception or a warning."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.experiments.config import Measure
from service.experiments.outcomes.moments import Moments
from service.experiments.outcomes.sums import ArmSums, ExperimentSums, Snapshot
from service.experiments.readout.history import MOST
from service.experiments.readout.intervals import UNKNOWN
from service.experiments.readout.page import lines
from service.experiments.readout.readout import readout_of
from service.experiments.readout.report import Readout
from tests.service.experiments.readout.users import DAY, NOW, Columns, counted, draw, experiment, moments, sums


def read(found: ExperimentSums, **more: object) -> Readout:
    return readout_of(found, experiment(weights=(), **more), 1, NOW, {})


def test_a_perfectly_empty_document() -> None:
    found = read(ExperimentSums(key="dtn-vs-ple", phase=1, first=0, last=0))
    assert (found.started, found.days, found.history, found.warnings) == (None, 0.0, [], [])
    assert [(arm.name, arm.users, arm.control) for arm in found.arms] == [("ple", 0, True), ("dtn", 0, False)]
    assert all(estimate.value is None for arm in found.arms for estimate in arm.metrics.values())
    assert {each.metric for each in found.comparisons} == {"ctr", "cvr", "ctcvr", "value"}
    assert all(each.lift is None and each.always == UNKNOWN for each in found.comparisons)
    assert found.sample_ratio.p_value is None
    assert "\n".join(lines(found)).startswith("No data: ")


def test_arms_report_what_was_counted() -> None:
    columns = draw(300)
    found = read(sums(ple=counted(columns, dropped=3, overridden=2, crossed=1, models={"ple@1": 9}), dtn=ArmSums()))
    arm = found.arms[0]
    assert (arm.users, arm.exposures, arm.clicks) == (300, columns["exposures"].sum(), columns["clicks"].sum())
    assert arm.value == pytest.approx(columns["value"].sum() / 1e6)
    assert (arm.dropped, arm.overridden, arm.crossed, arm.models) == (3, 2, 1, {"ple@1": 9})
    assert arm.metrics["cvr"].value == pytest.approx(columns["conversions"].sum() / columns["clicks"].sum())
    assert arm.metrics["value"].value == pytest.approx(columns["value"].mean() / 1e6)


def test_times_and_settings_are_said() -> None:
    found = read(sums(days=10, ple=counted(draw(50)), dtn=counted(draw(51))), measure=Measure(planned_users=1234))
    assert (found.started, found.as_of, found.days) == ("2026-11-21T00:00:00Z", "2026-12-01T00:00:00Z", 10.0)
    assert (found.planned_users, found.primary, found.alpha) == (1234, "ctr", 0.05)


def test_history_closes_in_and_ends_with_now() -> None:
    first, second = draw(3000, seed=5), draw(3000, 0.2, seed=6)
    found = sums(days=10, ple=counted(first), dtn=counted(second))
    found.snapshots = [
        Snapshot(time=found.first + day * DAY, arms={"ple": _first(first, day), "dtn": _first(second, day)})
        for day in range(1, 10)
    ]
    points = read(found).history
    assert [point.users for point in points] == [600 * day for day in range(1, 11)]
    assert points[0].time == "2026-11-22T00:00:00Z"
    widths = [(point.always.high or 0) - (point.always.low or 0) for point in points if point.always.low is not None]
    assert len(widths) > 5
    assert widths == sorted(widths, reverse=True)
    compared = read(found).comparisons[0]
    assert (points[-1].lift, points[-1].always, points[-1].fixed) == (compared.lift, compared.always, compared.fixed)


def _first(columns: Columns, day: int) -> Moments:
    return moments({name: column[: 300 * day] for name, column in columns.items()})


def test_a_long_history_is_thinned() -> None:
    found = sums(days=10, ple=counted(draw(60)), dtn=counted(draw(61)))
    now = {name: arm.moments for name, arm in found.arms.items()}
    found.snapshots = [Snapshot(time=found.first + i, arms=now) for i in range(5 * MOST)]
    assert len(read(found).history) == MOST + 1


def test_an_arm_that_never_had_weight_is_not_compared() -> None:
    found = readout_of(sums(ple=counted(draw(50))), experiment("ple", "dtn", "qa", weights=[5000, 5000, 0]), 1, NOW, {})
    assert {each.arm for each in found.comparisons} == {"dtn"}
    assert found.comparisons[0].level == 0.95
    ran = readout_of(
        sums(ple=counted(draw(50))), experiment("ple", "dtn", "qa", weights=[5000, 5000, 0]), 2, NOW, {1: {"qa": 10}}
    )
    assert {each.arm for each in ran.comparisons} == {"dtn", "qa"}


def test_an_arm_that_the_configuration_lost_is_told() -> None:
    found = read(sums(ple=counted(draw(900)), dtn=counted(draw(901)), old=counted(draw(902))))
    assert "counted, but no arm of the configuration: old" in found.warnings
    assert found.sample_ratio.alarm


def test_warnings() -> None:
    arm = counted(draw(2000, 0.9, seed=3), fallbacks=2000, dropped=7, crossed=4)
    found = sums(days=0.5, phase=1, ple=counted(draw(2000)), dtn=arm)
    found.late = 12
    said = read(found, phase=2).warnings
    assert said[0] == "this is phase 1; the configuration is at phase 2"
    assert "0.5 days are less than a week: weekdays and weekends may differ" in said
    assert "no exposure is 24 hours old: all users may still have events that count in the primary metric" in said
    assert "7 exposures of dtn were dropped, the log's queue being full" in said
    assert "4 users of dtn met another arm later; they count in dtn" in said
    assert "12 events came too late to count" in said
    assert any("of the exposures of dtn were served by the control's model" in line for line in said)


def test_weights_that_changed_are_told() -> None:
    found = sums(ple=counted(draw(900)), dtn=counted(draw(100), versions={2: 100}))
    said = readout_of(found, experiment(), 2, NOW, {1: {"ple": 9000, "dtn": 1000}}).warnings
    assert any(line.startswith("the weights changed within the phase") for line in said)


def test_a_measure_that_changed_is_told() -> None:
    found = sums(ple=counted(draw(900)), dtn=counted(draw(901)))
    assert not any("of the measure" in line for line in read(found).warnings)
    said = read(found, measure=Measure(effect=0.05, primary="value", alpha=0.1)).warnings
    assert "primary, alpha of the measure changed since the phase began: it was not planned beforehand" in said


def test_harm_in_another_metric_is_told() -> None:
    columns = draw(6000, 0.6, seed=9)
    poor = columns | {"value": columns["value"] // 8}
    found = read(sums(ple=counted(draw(6000)), dtn=counted(poor)))
    assert found.verdict.decision == "ship"
    assert any(line.startswith("value of dtn is ") and line.endswith("lower, peek-safe") for line in found.warnings)


def test_a_lift_beyond_all_numbers_is_unknown() -> None:
    two = {"exposures": np.array([50, 1]), "clicks": np.array([1, 1])}
    found = read(sums(ple=counted(two), dtn=counted(two)), measure=Measure(alpha=1e-9))
    assert found.comparisons[0].lift == 0
    assert (found.comparisons[0].fixed, found.comparisons[0].p_value) == (UNKNOWN, None)


COUNT = st.integers(0, 12)


@settings(max_examples=60, deadline=None)
@given(users=st.lists(st.tuples(st.booleans(), *[COUNT] * 9), max_size=12), copies=st.sampled_from([1, 40]))
def test_any_few_users_make_a_readout_of_plain_numbers(users: list[tuple[int, ...]], copies: int) -> None:
    names = ("exposures", "clicks", "conversions", "value", "predicted", "prior_exposures", "prior_clicks",
             "prior_conversions", "prior_value")  # fmt: skip
    arms = {}
    for name, side in (("ple", False), ("dtn", True)):
        rows = np.array([each[1:] for each in users if each[0] is side] * copies).reshape(-1, len(names))
        arms[name] = counted(dict(zip(names, rows.T, strict=True)))
    for primary in ("ctr", "value"):
        found = read(sums(arms=arms), measure=Measure.model_validate({"primary": primary}))
        text = found.model_dump_json()
        json.loads(text, parse_constant=pytest.fail)
        assert Readout.model_validate_json(text) == found
        assert list(lines(found))


def test_the_page_says_all() -> None:
    found = read(sums(ple=counted(draw(6000, seed=1)), dtn=counted(draw(6000, 0.4, seed=2))))
    page = "\n".join(lines(found))
    assert page.splitlines()[0] == found.verdict.sentence
    for part in ("ple (control)", "6,000", "peek-safe", "one look", "sample ratio: ok (p 1;", "guardrail calibration"):
        assert part in page
    assert len([line for line in page.splitlines() if line.startswith(("ctr ", "cvr ", "ctcvr ", "value "))]) == 4


def test_the_weights_of_now_do_not_judge_an_earlier_phase() -> None:
    def half(seed: int) -> ArmSums:
        return counted(draw(1000, seed=seed), versions={7: 1000})

    found, now = sums(phase=1, ple=half(1), dtn=half(2)), experiment(weights=(2000, 8000), phase=2)
    forgotten = readout_of(found, now, 8, NOW, {})
    assert (forgotten.sample_ratio.p_value, forgotten.sample_ratio.alarm) == (None, False)
    assert any("weights of version 7 are not in the history" in line for line in forgotten.warnings)
    kept = readout_of(found, now, 8, NOW, {7: {"ple": 5000, "dtn": 5000}})
    assert kept.sample_ratio.p_value == 1.0
    assert not any("not in the history" in line for line in kept.warnings)
