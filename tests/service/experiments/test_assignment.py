"""The two draws: known answers, stickiness, split, ramps, overrides, forced arms."""

import csv
import os
from collections import Counter
from pathlib import Path
from typing import Any

import mmh3
import pytest

from service.errors import ServiceProblem
from service.experiments.assignment import Assignment
from service.experiments.config import Experiments
from service.experiments.explanation import explain
from service.experiments.hashing import slot_of

VECTORS = Path(os.environ.get("TWINSCORE_VECTORS", "../shared/vectors")) / "split"
USERS = [f"user-{i}" for i in range(10_000)]
PAIR: dict[str, Any] = {
    "key": "pair", "salt": "pair.1", "slots": [(0, 10_000)],
    "arms": [{"name": "a", "model": "ma", "weight": 5_000}, {"name": "b", "model": "mb", "weight": 5_000}],
}  # fmt: skip


def assignment(*experiments: dict[str, Any]) -> Assignment:
    layer = {"name": "ranking", "salt": "ranking", "experiments": list(experiments)}
    return Assignment(Experiments.model_validate({"version": 1, "default_model": "md", "layers": [layer]}))


@pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no public vectors in {VECTORS}; set TWINSCORE_VECTORS")
@pytest.mark.parametrize("name", ["murmur3-sample-data-v2.first2000.csv", "murmur3-custom-uuids.csv"])
def test_the_hash_is_murmur3_x86_32(name: str) -> None:
    with (VECTORS / name).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if len(row) == 4 and row[0].isdigit()]
    assert len(rows) >= 500
    for seed, key, hashed, bucket in rows:
        own = mmh3.hash(key.encode(), int(seed), signed=False)
        assert own == int(hashed)
        assert own % 100 + 1 == int(bucket)


@pytest.mark.parametrize(
    ("salt", "unit", "slot"),
    # slots that this rule gave when it was fixed: changing one of them moves users of running experiments
    [
        ("ranking", "u1", 6_498),
        ("ranking", "42", 8_782),
        ("dtn-vs-ple.1", "u1", 1_503),
        ("ranking", "日本", 2_505),
        ("ranking", "😀", 4_904),
        ("ranking", "", 9_771),
    ],
)
def test_slots_never_change(salt: str, unit: str, slot: int) -> None:
    assert slot_of(salt, unit) == slot


def test_ten_thousand_users_split_by_weight_and_stay() -> None:
    weights = [1_000, 2_500, 6_500]
    arms = [{"name": f"arm{w}", "model": f"m{w}", "weight": w} for w in weights]
    router = assignment(PAIR | {"arms": arms})
    first = {user: router.decide(user) for user in USERS}
    counts = Counter(decision.arm for decision in first.values())
    for weight in weights:
        assert abs(counts[f"arm{weight}"] - weight) < 200  # four standard deviations
    again = assignment(PAIR | {"arms": arms})
    assert all(again.decide(user) == decision for user, decision in reversed(first.items()))
    assert all(decision.model == f"m{(decision.arm or '')[3:]}" for decision in first.values())


def test_a_ramp_moves_nobody_who_is_in_and_keeps_the_split() -> None:
    small, large = (
        assignment(PAIR | {"slots": [(0, 1_000)]}),
        assignment(PAIR | {"slots": [(0, 1_000), (4_000, 8_000)]}),
    )
    before = {user: decision for user in USERS if (decision := small.decide(user)).key}
    assert 850 < len(before) < 1_150
    assert all(large.decide(user).arm == decision.arm for user, decision in before.items())
    arms = Counter(decision.arm for decision in before.values())
    assert abs(arms["a"] - arms["b"]) < 150  # the arm does not follow the slot
    assert 4_800 < sum(large.decide(user).key is not None for user in USERS) < 5_200


def test_who_is_not_enrolled_meets_the_default_model() -> None:
    router = assignment(PAIR | {"slots": [(0, 1)]})
    outside = next(user for user in USERS if slot_of("ranking", user) >= 1)
    decision = router.decide(outside)
    assert (decision.model, decision.reason, decision.key, decision.arm) == ("md", "not-enrolled", None, None)
    assert router.decide(None).reason == "no-user"


def test_boundaries_of_slots_are_half_open() -> None:
    user = USERS[0]
    slot = slot_of("ranking", user)
    for slots, key in (((slot, slot + 1), "pair"), ((slot + 1, 10_000), None), ((0, slot), None)):
        assert assignment(PAIR | {"slots": [slots]}).decide(user).key == key


def test_an_override_wins_over_hash_and_enrolment() -> None:
    user = USERS[0]
    for arm, model in (("a", "ma"), ("b", "mb")):
        decision = assignment(PAIR | {"slots": [(0, 1)], "overrides": {user: arm}}).decide(user)
        assert (decision.model, decision.arm, decision.reason) == (model, arm, "override")


def test_a_forced_arm_wins_over_all_and_must_exist() -> None:
    router = assignment(PAIR | {"overrides": {"u": "a"}})
    assert (router.decide("u", "b").model, router.decide("u", "b").reason) == ("mb", "forced")
    assert router.decide(None, "a").arm == "a"
    with pytest.raises(ServiceProblem, match="known: a, b"):
        router.decide("u", "c")


def test_a_forced_arm_of_two_experiments_is_that_of_the_users_own() -> None:
    left = PAIR | {"slots": [(0, 5_000)]}
    right = PAIR | {"key": "right", "salt": "right.1", "slots": [(5_000, 10_000)]}
    router = assignment(left, right)
    for user in USERS[:50]:
        assert router.decide(user, "a").key == router.decide(user).key
    with pytest.raises(ServiceProblem, match="several experiments"):
        router.decide(None, "a")


def test_the_explanation_shows_the_draws_of_the_decision() -> None:
    router = assignment(PAIR | {"slots": [(0, 5_000)]})
    for user in USERS[:50]:
        overrides, slot, *rest = explain(router, user)
        assert overrides["experiment"] is None
        assert slot["input"] == f"ranking:{user}"
        assert slot["slot"] == slot_of("ranking", user)
        decision = router.decide(user)
        assert slot["experiment"] == decision.key
        assert [step["arm"] for step in rest] == ([decision.arm] if decision.key else [])
        for step in rest:
            assert step["ranges"] == {"a": [0, 5_000], "b": [5_000, 10_000]}
