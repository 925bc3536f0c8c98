"""Thompson weights: against exact chances, floors, when nothing happens, and the text of the next phase."""

from math import sqrt
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from contract.errors import ConfigError
from service.experiments.change.difference import compare
from service.experiments.config import Experiment, Thompson
from service.experiments.outcomes.moments import COLUMNS, Moments
from service.experiments.outcomes.sums import ArmSums, ExperimentSums
from service.experiments.planning.thompson import due, next_phase, step, weights
from service.experiments.readout.ratios import METRICS, sample
from service.experiments.source import parse_experiments

HOUR = 3_600_000
THOMPSON = Thompson(hours=24, floor=1_000)
TEXT = """\
# who meets what
version: 7
default_model: ple
layers:
  - name: ranking
    salt: ranking
    experiments:
      - key: one            # the only one
        phase: 3
        salt: one.3
        slots: [[0, 10000]]
        arms:
          - {name: a, model: ple, weight: 5000}   # control
          - name: b
            model: dtn
            weight: 5000
        thompson: {hours: 24, floor: 1000}
"""


def moments(rate: float, users: int, seed: int) -> Moments:
    """Users with 1 to 9 exposures each and own click rates around `rate`."""
    rng = np.random.default_rng(seed)
    exposures = rng.integers(1, 10, users)
    clicks = rng.binomial(exposures, rng.beta(2, 2 / rate - 2, users))
    made = Moments()
    for user in zip(exposures.tolist(), clicks.tolist(), strict=True):
        columns = dict.fromkeys(COLUMNS, 0) | {"users": 1, "exposures": user[0], "clicks": user[1]}
        made.add(columns[name] for name in COLUMNS)
    return made


EVEN, GOOD, SMALL = moments(0.1, 1_500, 1), moments(0.14, 1_500, 2), moments(0.1, 20, 3)


def experiment(text: str = TEXT) -> Experiment:
    return parse_experiments(text, "test").config.layers[0].experiments[0]


def sums(first: int = 0, phase: int = 3, **arms: Moments) -> ExperimentSums:
    content = {name: ArmSums(moments=each) for name, each in arms.items()}
    return ExperimentSums(key="one", phase=phase, first=first, last=first, arms=content)


def test_two_arms_share_by_the_exact_chance_to_be_best() -> None:
    other = moments(0.105, 1_500, 4)
    one, two = (sample(each, METRICS["ctr"]) for each in (EVEN, other))
    assert one is not None
    assert two is not None
    chance = NormalDist().cdf((two.mean - one.mean) / sqrt(one.variance + two.variance))
    assert 0.02 < chance < 0.98
    found = weights({"a": EVEN, "b": other}, "ctr", THOMPSON, seed=1)
    assert found is not None
    assert found["b"] == pytest.approx(1_000 + 8_000 * chance, abs=8_000 * 0.015)  # four errors of the draws
    assert sum(found.values()) == 10_000


def test_a_clear_winner_leaves_the_floor_to_the_others() -> None:
    found = weights({"a": EVEN, "b": GOOD, "c": EVEN}, "ctr", THOMPSON, seed=1)
    assert found == {"a": 1_000, "b": 8_000, "c": 1_000}


@pytest.mark.parametrize("arms", [3, 7])
def test_arms_that_tie_share_evenly_and_sum_to_10_000(arms: int) -> None:
    found = weights({f"arm{i}": EVEN for i in range(arms)}, "ctr", THOMPSON, seed=1)
    assert found is not None
    assert sum(found.values()) == 10_000
    assert all(weight == pytest.approx(10_000 / arms, abs=150) for weight in found.values())


def test_the_same_seed_gives_the_same_weights() -> None:
    first, again, other = (weights({"a": EVEN, "b": EVEN}, "ctr", THOMPSON, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_users_who_click_all_or_nothing_count_once_each() -> None:
    arms = {}
    for name, clickers in (("a", 100), ("b", 120)):
        arms[name] = Moments()
        for user in range(1_000):
            columns = {"users": 1, "exposures": 10, "clicks": 10 * (user < clickers)}
            arms[name].add(columns.get(column, 0) for column in COLUMNS)
    found = weights(arms, "ctr", THOMPSON, seed=1)
    assert found is not None
    # 1.43 errors apart, so the chance is 0.92; by 10,000 exposures each it would be 4.5 errors
    assert found["b"] == pytest.approx(1_000 + 8_000 * 0.924, abs=100)


def test_too_few_users_change_nothing() -> None:
    assert weights({"a": EVEN, "b": SMALL}, "ctr", THOMPSON, seed=1) is None
    assert weights({"a": EVEN, "b": EVEN}, "cvr", THOMPSON, seed=1) is None  # no conversion yet


def test_a_batch_is_due_after_its_hours() -> None:
    assert not due(sums(first=5), THOMPSON, 24 * HOUR + 4)
    assert due(sums(first=5), THOMPSON, 24 * HOUR + 5)


def test_a_step_gives_the_next_phase_whose_weights_favour_the_better_arm() -> None:
    text = step(experiment(), sums(a=EVEN, b=GOOD), TEXT, 24 * HOUR)
    assert text is not None
    changed = TEXT.replace("version: 7", "version: 8").replace("phase: 3", "phase: 4").replace("one.3", "one.4")
    changed = changed.replace("weight: 5000}", "weight: 1000}").replace("weight: 5000\n", "weight: 9000\n")
    assert text == changed  # comments and layout too
    assert compare(parse_experiments(TEXT, "old").config, parse_experiments(text, "new").config).refusals == []


@pytest.mark.parametrize(
    ("old", "new", "phase", "now"),
    [
        ("", "", 3, 24 * HOUR - 1),  # not over
        ("", "", 2, 24 * HOUR),  # sums of another phase
        ("thompson: {hours: 24, floor: 1000}", "killed: false", 3, 24 * HOUR),
        ("thompson:", "killed: true\n        thompson:", 3, 24 * HOUR),
    ],
)
def test_a_step_is_not_taken(old: str, new: str, phase: int, now: int) -> None:
    text = TEXT.replace(old, new)
    assert step(experiment(text), sums(phase=phase, a=EVEN, b=GOOD), text, now) is None


def test_a_step_waits_for_every_arm_and_for_a_change() -> None:
    assert step(experiment(), sums(a=EVEN), TEXT, 24 * HOUR) is None
    settled = TEXT.replace("weight: 5000}", "weight: 1000}").replace("weight: 5000\n", "weight: 9000\n")
    assert step(experiment(settled), sums(a=EVEN, b=GOOD), settled, 24 * HOUR) is None


def test_an_arm_of_weight_0_stays_out() -> None:
    text = TEXT.replace("        thompson", "          - {name: c, weight: 0}\n        thompson")
    found = step(experiment(text), sums(a=EVEN, b=GOOD), text, 24 * HOUR)
    assert found is not None
    assert [arm.weight for arm in experiment(found).arms] == [1_000, 9_000, 0]


def test_phases_follow_each_other_without_a_salt_or_phase_in_the_text() -> None:
    text = TEXT.replace("        phase: 3\n        salt: one.3\n", "")
    once = next_phase(text, "one", {"a": 4_000, "b": 6_000})
    twice = next_phase(once, "one", {"a": 3_000, "b": 7_000})
    assert [(each.phase, each.draw_salt) for each in map(experiment, (text, once, twice))] == [
        (1, "one.1"), (2, "one.2"), (3, "one.3"),
    ]  # fmt: skip


def test_a_salt_of_another_form_gets_the_phase_and_stays_short() -> None:
    for salt, becomes in (("pepper", "pepper.4"), ("p" * 64, "p" * 62 + ".4")):
        text = TEXT.replace("one.3", salt)
        assert experiment(next_phase(text, "one", {})).salt == becomes


def test_an_unknown_experiment_and_weights_that_do_not_sum_are_refused() -> None:
    with pytest.raises(ConfigError, match="'two' is not in the configuration"):
        next_phase(TEXT, "two", {})
    with pytest.raises(ConfigError, match=r"phase 4 of 'one':12: the weights of 'one' sum to 9000"):
        next_phase(TEXT, "one", {"a": 4_000})


def test_the_projects_own_file_can_go_on() -> None:
    text = (Path(__file__).parents[4] / "deploy" / "experiments.yaml").read_text(encoding="utf-8")
    new = next_phase(text, "dtn-vs-ple", {"ple": 1_000, "dtn": 9_000})
    assert sum(line != other for line, other in zip(text.splitlines(), new.splitlines(), strict=True)) == 5
