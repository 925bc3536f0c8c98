"""The split over a file of users: counts against the real decisions, alarms, what can be found."""

import subprocess
import sys
from collections import Counter
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.experiments.assignment import Assignment
from service.experiments.config import Experiments
from service.experiments.planning.outlook import Assumed, days_needed, outlooks
from service.experiments.planning.power import Ratio, Test, detectable, users_needed
from service.experiments.planning.simulation import Split, balances, independence, split
from service.experiments.planning.simulation_page import lines
from service.experiments.readout.sequential import planned_users

USERS = [f"u{i}" for i in range(20_000)]


def experiment(key: str, *weights: int, **rest: Any) -> dict[str, Any]:
    arms = [{"name": f"arm{i}", "weight": weight} for i, weight in enumerate(weights)]
    return {"key": key, "slots": [(0, 10_000)], "arms": arms} | rest


def config(*layers: list[dict[str, Any]], **rest: Any) -> Experiments:
    placed = [{"name": f"l{i}", "salt": f"l{i}", "experiments": each} for i, each in enumerate(layers)]
    return Experiments.model_validate({"version": 1, "default_model": "m", "layers": placed} | rest)


THREE = config(
    [experiment("one", 5_000, 5_000, slots=[(0, 3_000)]), experiment("two", 2_000, 8_000, slots=[(3_000, 9_000)])],
    [experiment("three", 3_334, 3_333, 3_333, slots=[(0, 5_000)])],
    holdout={"salt": "held", "slots": [(0, 3_000)]},
)  # fmt: skip


def test_every_user_is_counted_where_the_assignment_puts_them() -> None:
    decide = Assignment(THREE).decide
    seen = Counter((each.experiment.key, each.arm.name) for user in USERS for each in decide(user).variants)
    drawn = split(THREE, USERS)
    found = {(each.experiment.key, arm): n for each in balances(drawn) for arm, n in each.users.items()}
    assert found == seen
    assert int(drawn.held.sum()) == sum(decide(user).reason == "holdout" for user in USERS) > 5_700


def test_a_sound_split_raises_no_alarm() -> None:
    drawn = split(THREE, USERS)
    assert all((each.p_value or 0) > 0.001 for each in balances(drawn))
    pairs = independence(drawn)
    assert [(pair.one, pair.other) for pair in pairs] == [("one", "three"), ("two", "three")]
    assert all((pair.p_value or 0) > 0.001 for pair in pairs)  # the holdout, common to all layers, is no dependence


def test_conditions_times_kills_and_overrides_are_left_out() -> None:
    shut = {"killed": True, "when": "x == 1", "end": "2020-01-01T00:00:00Z", "overrides": {"u1": "arm1", "u2": "arm1"}}
    plain, other = (
        config([experiment("one", 5_000, 5_000)]),
        config([experiment("one", 5_000, 5_000, **shut)], killed=True),
    )
    assert np.array_equal(split(plain, USERS[:500]).codes, split(other, USERS[:500]).codes)


def test_users_chosen_by_their_arm_are_an_alarm() -> None:
    two = config([experiment("one", 5_000, 5_000)])
    decide = Assignment(two).decide
    chosen = [user for i, user in enumerate(USERS) if i % 8 or decide(user).arm == "arm0"]
    (balance,) = balances(split(two, chosen))
    assert (balance.p_value or 0) < 1e-6
    assert "ALARM: arms do not have the users of their weights" in "\n".join(lines(split(two, chosen), Assumed(), 7))


def test_experiments_that_follow_each_other_are_an_alarm() -> None:
    pair = config([experiment("one", 5_000, 5_000)], [experiment("two", 5_000, 5_000)])
    drawn = split(pair, USERS)
    codes = drawn.codes.copy()
    codes[1, :2_000] = codes[0, :2_000]
    followed = Split(drawn.config, drawn.arms, codes, drawn.held)
    assert (independence(drawn)[0].p_value or 0) > 0.001
    assert (independence(followed)[0].p_value or 0) < 1e-6
    assert "'one' and 'two'" in "\n".join(lines(followed, Assumed(), 7))
    assert "one follows the other" in "\n".join(lines(followed, Assumed(), 7))


def test_p_values_are_uniform_over_independent_experiments() -> None:
    keys = [f"e{i}" for i in range(8)]
    drawn = split(config(*([experiment(key, 5_000, 5_000)] for key in keys)), USERS[:5_000])
    values = [pair.p_value or 0 for pair in independence(drawn)]
    assert len(values) == 28
    assert 0.3 < sum(values) / len(values) < 0.7


def test_too_few_users_give_no_p() -> None:
    drawn = split(THREE, USERS[:20])
    assert {each.p_value for each in balances(drawn)} == {None}
    assert "too few users to say" in "\n".join(lines(drawn, Assumed(), 7))


def test_an_experiment_without_users_says_so() -> None:
    nobody = config([experiment("one", 10_000, 0)])
    assert "power: no two arms have users" in "\n".join(lines(split(nobody, USERS[:50]), Assumed(), 7))


def test_outlooks_follow_the_measure() -> None:
    measure = {"primary": "ctr", "alpha": 0.06, "power": 0.9, "effect": 0.1, "planned_users": 9_000}
    made = config([experiment("one", 5_000, 2_500, 2_500, control="arm1", measure=measure)]).experiment("one")
    assert made is not None
    users = {"arm0": 6_000, "arm1": 3_000, "arm2": 3_000}
    found = outlooks(made, users, Assumed(baseline=0.1, per_user=4, spread=0.5))
    assert [(each.arm, each.kind) for each in found] == [
        ("arm0", "one look"), ("arm0", "peek-safe"), ("arm2", "one look"), ("arm2", "peek-safe"),
    ]  # fmt: skip
    variation = Ratio(rate=0.1, per_user=4, spread=0.5).variation
    for each, planned in zip(found[:2], (None, 9_000), strict=True):
        test = Test(0.03, 0.9, planned)  # two arms share alpha
        assert each.detectable == pytest.approx(detectable(variation, 3_000, 6_000, test))
        assert each.needed == pytest.approx(users_needed(0.1, variation, 2 / 3, test))
        assert each.users == 9_000
        assert days_needed(each, 3) == pytest.approx(each.needed / 9_000 * 3)
    assert planned_users(made.measure) == 9_000


@pytest.mark.parametrize(("primary", "variation"), [("value", 25.0), ("cvr", 19.0), ("ctcvr", 1.9 * (1 + 18 / 19))])
def test_defaults_of_the_metrics(primary: str, variation: float) -> None:
    made = config([experiment("one", 5_000, 5_000, measure={"primary": primary})]).experiment("one")
    assert made is not None
    (one, _) = outlooks(made, {"arm0": 500, "arm1": 500}, Assumed())
    assert one.detectable == pytest.approx(detectable(variation, 500, 500, Test(0.05, 0.8)))


def test_a_lift_that_no_traffic_finds_is_infinitely_far() -> None:
    made = config([experiment("one", 5_000, 5_000)]).experiment("one")
    assert made is not None
    one, _ = outlooks(made, {"arm0": 500, "arm1": 500}, Assumed(effect=1e-9))
    assert days_needed(one, 7) == inf


def test_without_scipy_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "scipy.py").write_text("raise ImportError")
    (tmp_path / "users").write_text("\n".join(USERS[:100]))
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]; "
         "from contract.command import run; from service.experiments.commands import main; "
         f"sys.exit(run(lambda: main(['simulate', '--users', {str(tmp_path / 'users')!r}])))"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: the chi-square of a simulation needs scipy: pip install 'twinscore[experiments]'"
    ]
