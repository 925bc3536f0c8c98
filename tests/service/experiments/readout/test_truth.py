"""The promises of the readout in simulated experiments whose truth is known."""

import math
from pathlib import Path

import pytest
from scipy.stats import binom, chi2, ncx2

from contract.errors import ConfigError
from service.experiments.config import Measure
from service.experiments.readout.simulation import Plan, alarms, power, runs
from service.experiments.readout.truth import Truth, main, simulate, table

SMALL = Plan(users=1600, looks=4, measure=Measure(effect=0.2))


def fits(count: int, of: int, share: float, slack: float = 0.0) -> bool:
    """Whether so many hits are no surprise (1 in 10,000) at a share that may be off by `slack`."""
    low, high = max(share - slack, 0.0), min(share + slack, 1.0)
    return bool(binom.ppf(5e-5, of, low) <= count <= binom.ppf(1 - 5e-5, of, high))


def test_two_hundred_experiments_without_a_lift() -> None:
    found = list(runs(0.0, SMALL, 200, seed=1))
    assert fits(sum(run.fixed[-1] for run in found), 200, 0.05)
    assert fits(sum(run.fixed_covers for run in found), 200, 0.95)
    assert sum(any(run.always) for run in found) <= binom.ppf(0.9999, 200, 0.05)
    assert sum(run.always_covers for run in found) >= binom.ppf(1e-4, 200, 0.95)
    assert sum(any(run.fixed) for run in found) > sum(run.fixed[-1] for run in found)
    assert sum(run.impressions[-1] for run in found) > sum(run.fixed[-1] for run in found)
    assert 0.05 < sum(run.reduction for run in found) / 200 < 0.4


def test_a_large_lift_is_found_as_theory_says() -> None:
    plan = Plan(users=1600, looks=1, measure=SMALL.measure)
    found = list(runs(0.25, plan, 200, seed=2))
    assert fits(sum(run.fixed[-1] for run in found), 200, power(0.25, plan, 2), slack=0.03)
    assert 0 < sum(any(run.always) for run in found) < sum(run.fixed[-1] for run in found)
    assert sum(run.always_covers for run in found) >= binom.ppf(1e-4, 200, 0.95)


def test_sample_ratio_alarms_as_theory_says() -> None:
    assert alarms(0.0, 20_000, 500, seed=3) <= 5 / 500
    share = 0.95 / 1.95
    theory = ncx2.sf(chi2.isf(0.001, 1), 1, 20_000 * (2 * share - 1) ** 2)
    assert fits(round(500 * alarms(0.05, 20_000, 500, seed=3)), 500, theory, slack=0.02)


def test_the_command_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1", "--out", str(tmp_path / "new"), "--seed", "5"]) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["truth.json", "truth.png", "truth.svg"]
    found = Truth.model_validate_json((tmp_path / "new" / "truth.json").read_text())
    assert (found.runs, found.seed, len(found.fixed)) == (1, 5, 20)
    assert capsys.readouterr().out.startswith("\n".join(table(found)))


def test_a_folder_that_cannot_be_is_one_line_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--out .*file/new: not a directory"):
        main(["--out", str(tmp_path / "file" / "new")])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_runs_each() -> None:
    found = simulate(1000, 20261201, lambda line: None)
    noise = 4 * math.sqrt(0.05 * 0.95 / 1000)
    assert abs(found.fixed_one_look - 0.05) < noise
    assert found.always[-1] < 0.05
    assert found.fixed[-1] > 0.15
    assert found.impressions_one_look > 0.08
    for each in found.effects:
        assert abs(each.covered_fixed - 0.95) < noise
        assert each.covered_always > 0.95
        assert abs(each.found_fixed - each.theory) < 0.06
    assert max(each.without for each in found.sample_ratio) < 0.003
    assert found.sample_ratio[-1].lost > 0.9
