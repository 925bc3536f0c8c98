"""Draws are uniform, and those of different experiments know nothing of each other.

Users and salts are fixed, and so are the p-values: none of these tests fails by chance."""

from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, chi2_contingency, chisquare, kstest

from service.experiments.assignment import Assignment
from service.experiments.config import SLOTS, Experiments, Hash
from service.experiments.hashing import ArmDraw, SlotDraw

USERS = [str(i) for i in range(20_000)]
HASHES: list[Hash] = ["murmur3", "growthbook_v2", "eppo_md5", "unleash"]


def experiment(key: str, **rest: Any) -> dict[str, Any]:
    arms = [{"name": "a", "weight": 5_000}, {"name": "b", "weight": 5_000}]
    return {"key": key, "slots": [(0, SLOTS)], "arms": arms} | rest


def assignment(*layers: list[dict[str, Any]], **rest: Any) -> Assignment:
    placed = [{"name": f"l{i}", "salt": f"l{i}", "experiments": each} for i, each in enumerate(layers)]
    return Assignment(Experiments.model_validate({"version": 1, "default_model": "m", "layers": placed} | rest))


@pytest.mark.parametrize("algorithm", HASHES)
def test_buckets_are_uniform(algorithm: Hash) -> None:
    weights = [1_000] * 10
    for draw in (SlotDraw(algorithm, "layer"), ArmDraw(algorithm, "exp.1", weights)):
        counts = np.bincount([draw.bucket(user) // 100 for user in USERS], minlength=100)
        assert len(counts) == 100
        assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("algorithm", HASHES)
def test_twelve_experiments_are_pairwise_independent(algorithm: Hash) -> None:
    # deciles of the arm's draw, 10 x 10 tables; the uneven hash of GrowthBook's version 1 fails 46 of the 66 pairs
    draws = [ArmDraw(algorithm, f"exp{i}", [1_000] * 10) for i in range(12)]
    deciles = [np.array([draw.bucket(user) // 1_000 for user in USERS]) for draw in draws]
    values = []
    for one, two in combinations(deciles, 2):
        table = np.bincount(one * 10 + two, minlength=100).reshape(10, 10)
        values.append(chi2_contingency(table).pvalue)
    assert len(values) == 66
    assert sum(value < 0.01 for value in values) <= binom.ppf(0.999, 66, 0.01)  # 4; chance gives 0 to 2
    assert kstest(values, "uniform").pvalue > 0.001


@pytest.mark.parametrize("algorithm", HASHES)
def test_the_arm_knows_nothing_of_the_slot(algorithm: Hash) -> None:
    slots = SlotDraw(algorithm, "ranking")
    slot = np.array([slots.bucket(user) // 1_000 for user in USERS])
    values = []
    for i in range(12):
        draw = ArmDraw(algorithm, f"exp.{i}", [1_000] * 10)
        arm = np.array([draw.bucket(user) // 1_000 for user in USERS])
        values.append(chi2_contingency(np.bincount(slot * 10 + arm, minlength=100).reshape(10, 10)).pvalue)
    assert sum(value < 0.01 for value in values) <= binom.ppf(0.999, 12, 0.01)


def test_layers_are_independent_and_a_holdout_is_of_all() -> None:
    holdout = {"salt": "out", "slots": [(0, 2_000)]}
    router = assignment([experiment("one")], [experiment("two", slots=[(0, 5_000)])], holdout=holdout)
    table: Counter[tuple[str, str]] = Counter()
    held = 0
    for user in USERS:
        decision = router.decide(user)
        if decision.reason == "holdout":
            assert not decision.variants
            held += 1
            continue
        arms = {each.experiment.key: each.arm.name for each in decision.variants}
        table[arms["one"], arms.get("two", "none")] += 1
    assert abs(held - 4_000) < 230  # four standard deviations of 57
    counts = [[table[one, two] for two in ("a", "b", "none")] for one in ("a", "b")]
    assert min(min(row) for row in counts) > 1_800
    assert chi2_contingency(counts).pvalue > 0.001


def test_a_ramp_from_10_to_50_percent_moves_nobody() -> None:
    def arms(percent: int, hashed: Hash) -> dict[str, str]:
        one = experiment("one", slots=[(0, percent * 100)], hash=hashed)
        layer = {"name": "l", "salt": "l", "hash": hashed, "experiments": [one]}
        router = Assignment(Experiments.model_validate({"version": 1, "default_model": "m", "layers": [layer]}))
        return {user: arm for user in USERS if (arm := router.decide(user).arm)}

    for hashed in HASHES:
        steps = [arms(percent, hashed) for percent in (10, 20, 30, 50)]
        for before, after in pairwise(steps):
            assert before.items() <= after.items()
        assert abs(len(steps[0]) - 2_000) < 170
        assert abs(len(steps[-1]) - 10_000) < 290
        assert chisquare(list(Counter(steps[-1].values()).values())).pvalue > 0.001


def test_growthbooks_coverage_ramps_without_moving_anybody() -> None:
    before, after = (
        {user: arm for user in USERS if (arm := router.decide(user).arm)}
        for router in (
            assignment([experiment("one", hash="growthbook_v2", coverage=coverage)]) for coverage in (1_000, 5_000)
        )
    )
    assert before.items() <= after.items()
    assert (abs(len(before) - 2_000) < 170, abs(len(after) - 10_000) < 290) == (True, True)
