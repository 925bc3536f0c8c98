"""Differences of two configurations: the words, the exact share against drawn users, and what is refused."""

from typing import Any

import pytest

from service.experiments.change.difference import Difference, compare, drawn, moved_share, percent
from service.experiments.config import Experiments

USERS = [f"user-{i}" for i in range(20_000)]
ARMS = [{"name": "a", "weight": 5_000}, {"name": "b", "weight": 3_000}, {"name": "c", "weight": 2_000}]
ONE: dict[str, Any] = {"key": "one", "salt": "one.1", "slots": [(0, 2_000), (3_000, 5_000)], "arms": ARMS}
TWO: dict[str, Any] = {"key": "two", "slots": [(5_000, 6_000)], "arms": [{"name": "a", "weight": 10_000}]}
HOLDOUT = {"salt": "held", "slots": [(0, 1_000)]}


def config(
    *experiments: dict[str, Any], version: int = 1, layer: dict[str, Any] | None = None, **rest: Any
) -> Experiments:
    layers = [{"name": "ranking", "salt": "ranking", "experiments": list(experiments)} | (layer or {})]
    return Experiments.model_validate({"version": version, "default_model": "md", "layers": layers} | rest)


def weights(*values: int) -> list[dict[str, Any]]:
    return [arm | {"weight": value} for arm, value in zip(ARMS, values, strict=True)]


MOVES = {
    "a point of weight": (ONE | {"arms": weights(4_900, 3_000, 2_100)}, {}, {}, 0.02),
    "the smallest change of weight": (ONE | {"arms": weights(4_999, 3_001, 2_000)}, {}, {}, 0.0001),
    "arms in another order": (ONE | {"arms": ARMS[::-1]}, {}, {}, None),
    "an arm renamed": (ONE | {"arms": [ARMS[0] | {"name": "z"}, *ARMS[1:]]}, {}, {}, 0.5),
    "an arm added": (ONE | {"arms": [*weights(5_000, 3_000, 1_000), {"name": "d", "weight": 1_000}]}, {}, {}, 0.1),
    "the salt": (ONE | {"salt": "one.2"}, {}, {}, 1 - (0.25 + 0.09 + 0.04)),
    "the hash": (ONE | {"hash": "eppo_md5"}, {}, {}, 1 - (0.25 + 0.09 + 0.04)),
    "slots taken away": (ONE | {"slots": [(0, 2_000)]}, {}, {}, 0.5),
    "a slot taken away": (ONE | {"slots": [(0, 2_000), (3_000, 4_999)]}, {}, {}, 1 / 4_000),
    "slots elsewhere": (ONE | {"slots": [(6_000, 10_000)]}, {}, {}, 1.0),
    "slots and weights": (ONE | {"slots": [(0, 2_000)], "arms": weights(4_000, 4_000, 2_000)}, {}, {}, 1 - 0.5 * 0.9),
    "the layer's salt": (ONE, {"salt": "other"}, {}, 0.6),
    "the layer's hash": (ONE, {"hash": "growthbook_v2"}, {}, 0.6),
    "a holdout": (ONE, {}, {"holdout": HOLDOUT}, 0.1),
    "less coverage": (ONE | {"hash": "growthbook_v2", "coverage": 5_000}, {}, {}, None),
}  # fmt: skip


@pytest.mark.parametrize(("after", "layer", "rest", "share"), MOVES.values(), ids=MOVES)
def test_what_moves_users_is_refused_and_its_share_is_what_drawing_them_shows(
    after: dict[str, Any], layer: dict[str, Any], rest: dict[str, Any], share: float | None
) -> None:
    old, new = config(ONE), config(after, version=2, layer=layer, **rest)
    exact = moved_share(old, new, "one")
    if share is not None:
        assert exact == pytest.approx(share)
    enrolled, moved = drawn(old, new, USERS)["one"]
    assert 7_700 < enrolled < 8_300  # 4,000 of the 10,000 slots
    assert moved / enrolled == pytest.approx(exact, abs=0.02)
    (refusal,) = compare(old, new).refusals
    assert f"'one': {percent(exact)} of its enrolled users" in refusal
    assert refusal.endswith("raise its phase, and with it the salt (phase: 2, salt: one.2)")
    assert compare(old, config({**after, "phase": 2}, version=2, layer=layer, **rest)).refusals == []


STAYS = {
    "slots appended": (ONE | {"slots": [*ONE["slots"], (6_000, 10_000)]}, {}),
    "slots joined": (ONE | {"slots": [(3_000, 5_000), (0, 1_000), (1_000, 2_000)]}, {}),
    "overrides": (ONE | {"overrides": {"user-1": "a", "user-2": "b"}}, {}),
    "a kill": (ONE | {"killed": True}, {}),
    "everything killed": (ONE, {"killed": True}),
    "a window": (ONE | {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}, {}),
    "a condition": (ONE | {"when": 'scene == "home"'}, {}),
    "the explicit salt left out": (ONE | {"salt": None}, {}),  # key.phase is the same
    "an arm's model": (ONE | {"arms": [ARMS[0] | {"model": "other"}, *ARMS[1:]]}, {}),
    "an arm without users": (ONE | {"arms": [*ARMS, {"name": "d", "weight": 0}]}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("after", "rest"), STAYS.values(), ids=STAYS)
def test_what_moves_nobody_passes(after: dict[str, Any], rest: dict[str, Any]) -> None:
    old, new = config(ONE), config(after, version=2, **rest)
    assert compare(old, new).refusals == []
    assert moved_share(old, new, "one") == 0
    enrolled, moved = drawn(old, new, USERS)["one"]
    assert enrolled > 7_700
    assert moved == 0


def test_coverage_grows_without_moving_anybody() -> None:
    half, whole = (config(ONE | {"hash": "growthbook_v2", "coverage": share}) for share in (5_000, 10_000))
    assert moved_share(half, whole, "one") == 0
    assert drawn(half, whole, USERS)["one"][1] == 0
    enrolled, moved = drawn(whole, half, USERS)["one"]
    assert moved / enrolled == pytest.approx(moved_share(whole, half, "one"), abs=0.02)


def test_unleash_draws_percents() -> None:
    unleash = {"hash": "unleash"}
    old, new = (config(ONE | {"slots": [(0, stop)]}, layer=unleash) for stop in (2_000, 1_950))
    assert moved_share(old, new, "one") == 0  # slots 1,950 to 1,999 are never drawn
    fewer = config(ONE | {"slots": [(0, 1_900)]}, layer=unleash)
    assert moved_share(old, fewer, "one") == pytest.approx(1 / 20)


def test_a_growing_holdout_counts_those_it_takes_alone() -> None:
    old, new = (config(ONE, holdout=HOLDOUT | {"slots": [(0, stop)]}) for stop in (1_000, 1_900))
    assert moved_share(old, new, "one") == pytest.approx(0.1)
    assert moved_share(new, old, "one") == 0
    other = config(ONE, holdout=HOLDOUT | {"salt": "again"})
    enrolled, moved = drawn(old, other, USERS)["one"]
    assert moved / enrolled == pytest.approx(moved_share(old, other, "one"), abs=0.02)


def test_slots_that_go_to_another_experiment_are_refused_for_the_one_that_loses_them() -> None:
    shifted = (ONE | {"slots": [(0, 2_000), (3_000, 4_000)]}, TWO | {"slots": [(4_000, 6_000)]})
    refusals = compare(config(ONE, TWO), config(*shifted, version=2)).refusals
    assert len(refusals) == 1
    assert "'one': 25.0 %" in refusals[0]


def test_a_removed_and_a_new_experiment_are_said_and_pass() -> None:
    found = compare(config(ONE), config(TWO, version=2))
    assert [(change.key, change.words) for change in found.changes] == [("one", ["removed"]), ("two", ["new"])]
    assert found.refusals == []


def words(after: dict[str, Any], **rest: Any) -> Difference:
    return compare(config(ONE), config(after, version=2, **rest))


def test_changes_are_said_in_words() -> None:
    after = ONE | {
        "phase": 2, "slots": [(0, 6_000)], "arms": [ARMS[0] | {"model": "m2"}, *ARMS[1:]],
        "overrides": {"u": "b"}, "killed": True, "guardrails": {"p99_ms": 20.0},
    }  # fmt: skip
    found = words(after, default_model="other", layer={"salt": "fresh"})
    assert found.general == ["version: 1 → 2", "default_model: md → other", "layer 'ranking': salt: ranking → fresh"]
    assert found.changes[0].words == [
        "slots: 4,000 → 6,000 of 10,000, [[0, 2000], [3000, 5000]] → [[0, 6000]]",
        "phase: 1 → 2",
        "killed: false → true",
        'guardrails: none → {"p99_ms": 20.0}',
        "arm 'a': model: none → m2",
        "override of 'u': none → b",
    ]


def test_nothing_changed_says_nothing() -> None:
    found = compare(config(ONE, TWO), config(ONE, TWO))
    assert (found.general, found.changes) == ([], [])


@pytest.mark.parametrize(
    ("after", "warning"),
    [
        (ONE | {"arms": [ARMS[0] | {"model": "m2"}, *ARMS[1:]]}, "arm 'a' serves something else within phase 1"),
        (ONE | {"measure": {"primary": "cvr"}}, "measure changes within phase 1"),
        (ONE | {"phase": 2}, "the salt stays 'one.1'"),
    ],
)
def test_what_spoils_a_readout_is_warned_of(after: dict[str, Any], warning: str) -> None:
    (change,) = words(after).changes
    assert warning in " ".join(change.warnings)
    assert change.refusal is None


def test_a_lower_phase_is_no_new_phase() -> None:
    later = ONE | {"phase": 2, "salt": "one.2"}
    (refusal,) = compare(config(later), config(ONE, version=2)).refusals
    assert "phase: 3, salt: one.3" in refusal


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.0 %"), (0.5, "50.0 %"), (1.0, "100.0 %"), (0.0001, "0.01 %"), (1e-8, "1e-06 %")]
)
def test_a_share_that_is_not_0_never_looks_like_it(share: float, text: str) -> None:
    assert percent(share) == text
