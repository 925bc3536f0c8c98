"""explain walks as decide does: over any configuration, user and context the outcome is the same."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from service.experiments.assignment import Assignment
from service.experiments.config import SLOTS, Experiments
from service.experiments.explanation import Step, explain
from service.experiments.hashing import slot_of
from service.experiments.rules import mistakes

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EARLIER, LATER = NOW.replace(month=1), NOW.replace(month=12)
USERS = [f"user-{i}" for i in range(50)]
PAIR: dict[str, Any] = {
    "key": "pair", "salt": "pair.1", "slots": [(0, 5_000)],
    "arms": [{"name": "a", "model": "ma", "weight": 5_000}, {"name": "b", "model": "mb", "weight": 5_000}],
}  # fmt: skip


def assignment(*layers: dict[str, Any], **rest: Any) -> Assignment:
    config = Experiments.model_validate({"version": 1, "default_model": "md", "layers": layers} | rest)
    assert not list(mistakes(config))
    return Assignment(config, NOW.timestamp)


def steps(router: Assignment, user: str, context: dict[str, Any] | None = None) -> dict[str, Step]:
    return {str(step["step"]): step for step in explain(router, user, context or {})}


@st.composite
def experiments(draw: st.DrawFn, layer: int, names_models: bool) -> list[dict[str, Any]]:
    """Experiments side by side in a layer; only one layer's arms name models."""
    bounds = sorted(draw(st.sets(st.integers(1, 99), max_size=3)))
    found: list[dict[str, Any]] = []
    for j, (start, stop) in enumerate(zip([0, *bounds], [*bounds, draw(st.integers(99, 100))], strict=True)):
        if start >= stop:
            continue
        hashed = draw(st.sampled_from(["murmur3", "growthbook_v2", "eppo_md5", "unleash"]))
        weight = draw(st.integers(0, SLOTS))
        arms: list[dict[str, Any]] = [{"name": "a", "weight": weight}, {"name": "b", "weight": SLOTS - weight}]
        if names_models:
            arms[1]["model"] = f"m{j}"
        found.append(
            {
                "key": f"e{layer}-{j}",
                "hash": hashed,
                "slots": [(start * 100, stop * 100)],
                "arms": arms,
                "coverage": draw(st.sampled_from([0, 3_000, SLOTS])) if hashed == "growthbook_v2" else SLOTS,
                "overrides": draw(st.sampled_from([{}, {f"u{j}": "b"}])),
                "when": draw(st.sampled_from([None, 'scene == "home"', "hour >= 8 and not tag in [1, 2]"])),
                "start": draw(st.sampled_from([None, EARLIER, LATER])),
                "end": draw(st.sampled_from([None, LATER])),
                "killed": draw(st.sampled_from([False, False, True])),
            }
        )
        if found[-1]["start"] is LATER:
            found[-1]["end"] = None
    return found


@st.composite
def routers(draw: st.DrawFn) -> Assignment:
    names_models = draw(st.integers(0, 2))
    layers = [
        {
            "name": f"l{i}", "salt": f"l{i}", "experiments": draw(experiments(i, i == names_models)),
            "hash": draw(st.sampled_from(["murmur3", "growthbook_v2", "eppo_md5", "unleash"])),
        }
        for i in range(draw(st.integers(0, 3)))
    ]  # fmt: skip
    holdout = draw(st.sampled_from([None, {"salt": "out", "slots": [(0, 2_000)]}]))
    return assignment(*layers, holdout=holdout, killed=draw(st.integers(0, 9)) == 9)


CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "scene": st.sampled_from(["home", "search", 3, None]),
        "hour": st.sampled_from([7, 8, 8.5, "8"]),
        "tag": st.sampled_from([1, [1, 7], [], "x"]),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    router=routers(), users=st.lists(st.sampled_from(["u0", "u1", *USERS, "日本", "😀"]), max_size=9), context=CONTEXTS
)
def test_the_explanation_and_the_decision_are_one(
    router: Assignment, users: list[str], context: dict[str, Any]
) -> None:
    for user in users:
        told, decision = explain(router, user, context), router.decide(user, None, context)
        outcome = {
            "model": decision.model, "reason": decision.reason, "experiment": decision.key, "arm": decision.arm,
            "phase": decision.phase, "slot": decision.slot,
        }  # fmt: skip
        assert {name: told[-1][name] for name in outcome} == outcome
        assert all(step["text"] for step in told)
        assert [step["step"] for step in told].count("decision") == 1
        if len(router.layers) > 1 and decision.reason not in ("holdout",) and not router.config.killed:
            assert told[-2]["others"] == [each.key for each in decision.others]


def test_every_draw_is_shown_with_its_input_and_ranges() -> None:
    router = assignment({"name": "ranking", "salt": "ranking", "experiments": [PAIR]})
    for user in USERS:
        switch, override, slot, *rest = explain(router, user)
        decision = router.decide(user)
        assert (switch["on"], override["experiment"]) == (False, None)
        assert slot["input"] == f"ranking:{user}"
        assert slot["slot"] == slot_of("ranking", user)
        assert slot["experiment"] == decision.key
        assert [step["arm"] for step in rest if step["step"] == "arm"] == ([decision.arm] if decision.key else [])
        for step in rest:
            if step["step"] == "arm":
                assert step["ranges"] == {"a": [0, 5_000], "b": [5_000, 10_000]}
                assert step["input"] == f"pair.1:{user}"


def test_what_was_looked_at_is_told_in_order_and_no_more() -> None:
    layer = {"name": "ranking", "salt": "ranking", "experiments": [PAIR | {"slots": [(0, 10_000)], "when": "hour > 8"}]}
    other = {"name": "other", "salt": "other", "experiments": []}
    router = assignment(layer, other, holdout={"salt": "out", "slots": [(0, 100)]})
    inside = next(user for user in USERS if slot_of("out", user) >= 100)
    assert [step["step"] for step in explain(router, inside, {"hour": 9})] == [
        "switch", "holdout", "override", "slot", "state", "condition", "arm", "override", "slot", "model", "decision",
    ]  # fmt: skip
    assert [step["step"] for step in explain(router, inside, {"hour": 8})][5:] == [
        "condition", "override", "slot", "model", "decision",
    ]  # fmt: skip
    held = next(user for user in (f"user-{i}" for i in range(10_000)) if slot_of("out", user) < 100)
    assert [step["step"] for step in explain(router, held)] == ["switch", "holdout", "decision"]
    assert [step["step"] for step in explain(assignment(killed=True), inside)] == ["switch", "decision"]


def test_the_condition_shows_what_it_saw() -> None:
    layer = {"name": "l", "salt": "l", "experiments": [PAIR | {"slots": [(0, 10_000)], "when": 'a == 1 or b == "x"'}]}
    told = steps(assignment(layer), "u1", {"b": "x", "c": 3})["condition"]
    assert (told["saw"], told["holds"]) == ({"b": "x"}, True)
    assert told["text"] == "the condition a == 1 or b == \"x\" holds: a missing, b = 'x'"


def test_an_override_and_the_state_by_time_are_told() -> None:
    layer = {"name": "l", "salt": "l", "experiments": [PAIR | {"overrides": {"qa": "b"}, "start": LATER}]}
    told = steps(assignment(layer), "qa")
    assert told["override"]["arm"] == "b"
    assert told["state"]["text"] == f"'pair' starts at {LATER.isoformat()}"
    assert (told["decision"]["arm"], told["decision"]["reason"], "slot" in told) == ("b", "override", False)
