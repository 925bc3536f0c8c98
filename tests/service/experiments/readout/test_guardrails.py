"""Guardrails of the readout: breached only where it is sure."""

import pytest

from service.experiments.config import Guardrails, Measure
from service.experiments.outcomes.sums import ArmSums
from service.experiments.readout.guardrails import guardrails_of
from service.experiments.readout.report import Guardrail
from tests.service.experiments.readout.users import counted, draw

LIMITS = Guardrails(calibration=(0.8, 1.25), error_rate=0.02)


def found(arm: ArmSums, limits: Guardrails = LIMITS, control: ArmSums | None = None) -> dict[str, Guardrail]:
    arms = {"ple": control or counted(draw(4000, seed=1)), "dtn": arm}
    return {each.name: each for each in guardrails_of(arms, "ple", ["dtn"], limits, Measure(effect=0.05))}


def over(factor: float, users: int = 4000) -> ArmSums:
    columns = draw(users, seed=2)
    return counted(columns | {"predicted": (columns["predicted"] * factor).astype(int)})


def test_calibration_is_the_ratio_of_predicted_over_observed() -> None:
    control, arm = counted(draw(4000, seed=1)), over(1.1)
    ratios = [each.moments.total("predicted") / 1e6 / each.moments.total("clicks") for each in (control, arm)]
    assert found(arm)["calibration"].value == pytest.approx(ratios[1] / ratios[0], rel=1e-12)
    assert not found(arm)["calibration"].breached
    assert found(arm)["calibration"].limit == "0.8 to 1.25"


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_calibration_off_either_way_breaches(factor: float) -> None:
    assert found(over(factor))["calibration"].breached
    assert not found(over(factor), Guardrails())["calibration"].breached


def test_calibration_of_few_users_does_not_breach() -> None:
    few = found(over(2.0, 60))["calibration"]
    assert few.value is not None
    assert few.value > 1.25
    assert not few.breached


def test_fallbacks_beyond_the_error_rate_breach() -> None:
    exposures = counted(draw(4000, seed=2)).moments.total("exposures")
    ok, bad = (counted(draw(4000, seed=2), fallbacks=int(exposures * share)) for share in (0.015, 0.03))
    assert not found(ok)["fallbacks"].breached
    assert found(bad)["fallbacks"].breached
    assert found(bad)["fallbacks"].limit == "up to 0.02"
    assert not found(bad, Guardrails(error_rate=0.02, min_requests=10**6))["fallbacks"].breached


def test_nothing_seen_is_unknown() -> None:
    nothing = found(ArmSums())
    assert [each.value for each in nothing.values()] == [None, None]
    assert not any(each.breached for each in nothing.values())
