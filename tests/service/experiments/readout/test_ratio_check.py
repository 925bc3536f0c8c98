"""Sample-ratio check: scipy's answer, and every way to an alarm."""

import pytest
from scipy.stats import chisquare

from service.experiments.outcomes.moments import COLUMNS, Moments
from service.experiments.outcomes.sums import ArmSums, ExperimentSums
from service.experiments.readout.ratio_check import check
from service.experiments.readout.report import SampleRatio
from tests.service.experiments.readout.users import sums

EVEN = {1: {"ple": 5000, "dtn": 5000}}


def arm(users: int, versions: dict[int, int] | None = None, **more: object) -> ArmSums:
    found = Moments()
    found.products[0] = users
    assert COLUMNS[0] == "users"
    return ArmSums.model_validate({"moments": found, "versions": versions or {1: users}} | more)


def checked(read: ExperimentSums, weights: dict[int, dict[str, int]], *names: str) -> SampleRatio:
    return check(read, names or ("ple", "dtn"), max(weights), weights)


def test_p_is_scipys() -> None:
    weights = {1: {"ple": 5000, "dtn": 3000, "new": 2000}}
    found = checked(sums(ple=arm(5050), dtn=arm(2990), new=arm(1960)), weights, "ple", "dtn", "new")
    assert found.p_value == pytest.approx(chisquare([5050, 2990, 1960], [5000, 3000, 2000]).pvalue, rel=1e-12)
    assert found.expected == {"ple": 5000, "dtn": 3000, "new": 2000}
    assert found.observed == {"ple": 5050, "dtn": 2990, "new": 1960}
    assert not found.alarm
    assert found.alarms == []


def test_an_alarm_names_counts_and_possible_causes() -> None:
    found = checked(sums(ple=arm(5300), dtn=arm(4900, dropped=380, fallbacks=20)), EVEN)
    assert found.alarm
    assert found.alarms[0] == "users: ple 5,300 instead of 5,100, dtn 4,900 instead of 5,100 (p 7e-05)"
    assert "possible cause: dropped exposures: ple 0, dtn 380" in found.alarms
    assert "possible cause: exposures that fell back: ple 0, dtn 20" in found.alarms


def test_just_above_the_level_is_no_alarm() -> None:
    assert not checked(sums(ple=arm(5160), dtn=arm(4840)), EVEN).alarm  # p .0014
    assert checked(sums(ple=arm(5170), dtn=arm(4830)), EVEN).alarm  # p .00067


def test_each_version_is_held_to_its_own_weights() -> None:
    weights = {1: {"ple": 9000, "dtn": 1000}, 2: {"ple": 5000, "dtn": 5000}}
    read = sums(ple=arm(14_000, {1: 9000, 2: 5000}), dtn=arm(6000, {1: 1000, 2: 5000}))
    found = checked(read, weights)
    assert found.versions == {"1": 1.0, "2": 1.0}
    assert found.expected == {"ple": 14_000, "dtn": 6000}
    assert not found.alarm


def test_an_alarm_of_one_version_that_the_total_hides() -> None:
    read = sums(ple=arm(10_000, {1: 5300, 2: 4700}), dtn=arm(10_000, {1: 4700, 2: 5300}))
    found = checked(read, {1: EVEN[1], 2: EVEN[1]})
    assert found.p_value == 1.0
    assert found.alarm
    assert [line.split(":")[0] for line in found.alarms] == ["version 1", "version 2"]


def test_an_alarm_of_one_segment_that_the_total_hides() -> None:
    read = sums(
        ple=arm(10_000, segments={"os=a": 5300, "os=b": 4700}), dtn=arm(10_000, segments={"os=a": 4700, "os=b": 5300})
    )
    found = checked(read, EVEN)
    assert found.alarm
    assert found.alarms[0].startswith("segment os=a: users do not follow the weights (p 2e-09)")


def test_many_segments_share_the_level() -> None:
    off = {"s=0": 5170}  # p .00067 alone
    rest = {f"s={i}": 5000 for i in range(1, 20)}
    one = arm(100_170, segments=off | rest)
    other = arm(99_830, segments={"s=0": 4830} | rest)
    found = checked(sums(ple=one, dtn=other), EVEN)
    assert found.segments["s=0"] < 0.001
    assert not found.alarm


def test_segments_are_not_checked_where_the_weights_changed() -> None:
    read = sums(
        ple=arm(14_000, {1: 9000, 2: 5000}, segments={"os=a": 9000}),
        dtn=arm(6000, {1: 1000, 2: 5000}, segments={"os=a": 1000}),
    )
    found = checked(read, {1: {"ple": 9000, "dtn": 1000}, 2: EVEN[1]})
    assert found.segments == {}
    assert not found.alarm


def test_users_in_an_arm_of_weight_0_are_an_alarm() -> None:
    weights = {1: {"ple": 5000, "dtn": 5000, "off": 0}}
    quiet = checked(sums(ple=arm(500), dtn=arm(500)), weights, "ple", "dtn", "off")
    assert quiet.p_value == 1.0
    found = checked(sums(ple=arm(500), dtn=arm(500), off=arm(2)), weights, "ple", "dtn", "off")
    assert found.p_value == 0.0
    assert "off 2 instead of 0" in found.alarms[0]


def test_a_version_whose_weights_are_lost_counts_by_the_present_ones() -> None:
    found = checked(sums(ple=arm(500, {7: 500}), dtn=arm(500, {7: 500})), EVEN)
    assert found.versions == {"7": 1.0}


def test_weights_of_other_arms_alone_expect_what_there_is() -> None:
    found = checked(sums(ple=arm(500), dtn=arm(300)), {1: {"old": 10_000}})
    assert found.expected == {"ple": 500, "dtn": 300}
    assert not found.alarm


def test_too_few_users_say_nothing() -> None:
    for read in (sums(), sums(ple=arm(4), dtn=arm(5)), sums(ple=arm(9))):
        found = checked(read, EVEN)
        assert found.p_value is None
        assert not found.alarm
