"""What a user meets: stickiness, split, ramps, overrides, forced arms, times, conditions, layers, kills."""

import timeit
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import ServiceProblem
from service.experiments.assignment import Assignment
from service.experiments.config import Experiments
from service.experiments.hashing import slot_of

USERS = [f"user-{i}" for i in range(10_000)]
PAIR: dict[str, Any] = {
    "key": "pair", "salt": "pair.1", "slots": [(0, 10_000)],
    "arms": [{"name": "a", "model": "ma", "weight": 5_000}, {"name": "b", "model": "mb", "weight": 5_000}],
}  # fmt: skip


NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def assignment(*experiments: dict[str, Any], clock: Callable[[], float] = time, **rest: Any) -> Assignment:
    return layered([*experiments], clock=clock, **rest)


def layered(*layers: list[dict[str, Any]], clock: Callable[[], float] = time, **rest: Any) -> Assignment:
    names = ["ranking", "page", "third"]
    placed = [{"name": n, "salt": n, "experiments": each} for n, each in zip(names, layers, strict=False)]
    config = Experiments.model_validate({"version": 1, "default_model": "md", "layers": placed} | rest)
    return Assignment(config, clock)


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


def test_a_forced_arm_may_name_its_experiment() -> None:
    router = assignment(
        PAIR | {"slots": [(0, 5_000)]}, PAIR | {"key": "right", "salt": "right.1", "slots": [(5_000, 10_000)]}
    )
    for user in (None, *USERS[:20]):
        for key in ("pair", "right"):
            decision = router.decide(user, f"{key}/b")
            assert (decision.key, decision.arm, decision.reason) == (key, "b", "forced")
    with pytest.raises(ServiceProblem, match="send one of pair/a, right/a, or the id of a user of one"):
        router.decide(None, "a")
    for name in ("pair/c", "other/a", "pair/", "/", "", "a/pair"):
        with pytest.raises(ServiceProblem, match="is unknown; known: a, b"):
            router.decide("u", name)


def test_numbers_and_texts_are_one_user_and_salts_keep_users_apart() -> None:
    # ids reach the split as text, so 23 and "23" are one user; ("exp1", "23") and ("exp12", "3") are two draws
    assert slot_of("exp1", "23") != slot_of("exp12", "3")
    one, twelve = ([f"{i}" for i in range(1_000)], [f"2{i}" for i in range(1_000)])
    alike = sum(slot_of("exp12", a) == slot_of("exp1", b) for a, b in zip(one, twelve, strict=True))
    assert alike < 5
    for salt in ("a:b", "a b", "", "é", "a\n"):
        with pytest.raises(ValidationError, match="salt"):
            assignment(PAIR | {"salt": salt})


@pytest.mark.parametrize(
    "user", ["日本", "😀", "é", "e\u0301", " ", "\x00", "a:b", "0", "-9223372036854775808", "x" * 500]
)
def test_any_text_is_a_user(user: str) -> None:
    decision = assignment(PAIR).decide(user)
    assert decision.reason == "assigned"
    assert decision.slot == slot_of("ranking", user)
    assert assignment(PAIR | {"overrides": {user: "b"}}).decide(user).reason == "override"


def test_start_and_end_are_half_open_and_follow_the_clock() -> None:
    now = NOW
    router = assignment(
        PAIR | {"start": NOW, "end": NOW + timedelta(hours=1), "overrides": {"qa": "b"}}, clock=lambda: now.timestamp()
    )
    seen = []
    for moment in (-1, 0, 3_599, 3_600):
        now = NOW + timedelta(seconds=moment)
        seen.append((router.decide("u").reason, router.decide("qa").reason))
    assert seen == [
        ("not-started", "override"), ("assigned", "override"), ("assigned", "override"), ("ended", "ended"),
    ]  # fmt: skip
    assert (router.decide("u").model, router.decide("u").key, router.decide("u").slot) == (
        "md", None, slot_of("ranking", "u"),
    )  # fmt: skip


def test_a_kill_stops_an_experiment_or_all_but_not_a_forced_arm() -> None:
    one = assignment(PAIR | {"killed": True, "overrides": {"qa": "b"}})
    every = assignment(PAIR | {"overrides": {"qa": "b"}}, killed=True)
    for router in (one, every):
        for user in ("u", "qa"):
            decision = router.decide(user)
            assert (decision.model, decision.reason, decision.key) == ("md", "killed", None)
        assert router.decide("u", "b").reason == "forced"
    other = PAIR | {"key": "other", "salt": "other.1", "slots": [(5_000, 10_000)]}
    beside = assignment(PAIR | {"killed": True, "slots": [(0, 5_000)]}, other)
    assert {beside.decide(user).reason for user in USERS[:100]} == {"killed", "assigned"}


def test_a_holdout_is_of_all_layers_and_moves_nobody_else() -> None:
    page = {"key": "page", "slots": [(0, 10_000)], "arms": [{"name": "on", "weight": 10_000}]}
    free = layered([PAIR | {"overrides": {"qa": "b"}}], [page])
    held = layered([PAIR | {"overrides": {"qa": "b"}}], [page], holdout={"salt": "out", "slots": [(0, 1_000)]})
    count = 0
    for user in USERS:
        decision = held.decide(user)
        if slot_of("out", user) < 1_000:
            assert (decision.model, decision.reason, decision.variants) == ("md", "holdout", [])
            count += 1
        else:
            assert decision == free.decide(user)
    assert 850 < count < 1_150


def test_a_condition_decides_by_the_context() -> None:
    router = assignment(PAIR | {"when": 'scene in ["home", "search"] and hour >= 8'})
    inside = router.decide("u", None, {"scene": "home", "hour": 8})
    assert inside.reason == "assigned"
    for context in ({}, {"scene": "home"}, {"scene": "home", "hour": "8"}, {"scene": "cart", "hour": 9}):
        decision = router.decide("u", None, context)
        assert (decision.model, decision.reason, decision.slot) == ("md", "not-targeted", inside.slot)
    assert router.decide("u", None, {"scene": ["cart", "home"], "hour": 9}).arm == inside.arm
    assert assignment(PAIR | {"when": "a == 1", "overrides": {"qa": "b"}}).decide("qa").reason == "override"


def test_layers_draw_apart_and_join_what_they_set() -> None:
    page = {
        "key": "page", "slots": [(0, 5_000)],
        "arms": [
            {"name": "x", "weight": 5_000, "parameters": {"page": 20}},
            {"name": "y", "weight": 5_000, "parameters": {"page": 30}, "ranking": {"ctr": 2}},
        ],
    }  # fmt: skip
    plain = {"arms": [{"name": "a", "weight": 5_000}, {"name": "b", "weight": 5_000, "model": "mb"}]}
    router = layered([page], [PAIR | plain])
    met: Counter[tuple[str, str | bool]] = Counter()
    for user in USERS[:4_000]:
        decision = router.decide(user)
        arms = {each.experiment.key: each.arm for each in decision.variants}
        met[arms["pair"].name, "page" in arms and arms["page"].name] += 1
        assert decision.model == ("mb" if arms["pair"].name == "b" else "md")
        assert decision.key == ("pair" if arms["pair"].name == "b" or "page" not in arms else "page")
        assert decision.slot == slot_of("page" if decision.key == "pair" else "ranking", user)
        assert decision.parameters == (dict(arms["page"].parameters) if "page" in arms else {})
        assert decision.ranking == ({"ctr": 2.0} if "page" in arms and arms["page"].name == "y" else {})
        assert [each.key for each in decision.others] == [key for key in arms if key != decision.key]
    assert len(met) == 6
    assert all(400 < met[pair, x] < 600 for pair in "ab" for x in "xy")


def test_no_layer_is_no_experiment() -> None:
    assert layered().decide("u").reason == "not-enrolled"
    with pytest.raises(ServiceProblem, match="known: none"):
        layered().decide("u", "a")


def test_weights_of_zero_meet_nobody() -> None:
    for weights in ((0, 10_000, 0), (10_000, 0, 0), (0, 0, 10_000)):
        arms = [{"name": str(w), "weight": w, "model": f"m{i}"} for i, w in enumerate(weights)]
        arms = [arm | {"name": f"{arm['name']}-{i}"} for i, arm in enumerate(arms)]
        router = assignment(PAIR | {"arms": arms})
        assert {router.decide(user).model for user in USERS[:500]} == {f"m{weights.index(10_000)}"}


def test_a_decision_takes_microseconds() -> None:
    # 1.1 us where it was measured, 2 us is the limit; ten times that here, where other tests run beside
    decide = assignment(PAIR).decide
    users = USERS[:1_000]
    seconds = min(timeit.repeat(lambda: [decide(user) for user in users], number=1, repeat=5))
    assert seconds / len(users) < 20e-6
