"""The two draws: known answers, stickiness, split, ramps, overrides, forced arms."""

from collections import Counter
from typing import Any

import pytest

from service.errors import ServiceProblem
from service.experiments.assignment import Assignment
from service.experiments.config import Experiments
from service.experiments.hashing import slot_of

USERS = [f"user-{i}" for i in range(10_000)]
PAIR: dict[str, Any] = {
    "key": "pair", "salt": "pair.1", "slots": [(0, 10_000)],
    "arms": [{"name": "a", "model": "ma", "weight": 5_000}, {"name": "b", "model": "mb", "weight": 5_000}],
}  # fmt: skip


def assignment(*experiments: dict[str, Any]) -> Assignment:
    layer = {"name": "ranking", "salt": "ranking", "experiments": list(experiments)}
    return Assignment(Experiments.model_validate({"version": 1, "default_model": "md", "layers": [layer]}))


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
