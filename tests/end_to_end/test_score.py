"""From a click log to /score: what the service answers is what PyTorch computes, for both arms, for everybody."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from contract.schema import Side
from tests.end_to_end.conftest import Stack
from tests.end_to_end.reference import Reference

CONTEXT: dict[str, Any] = {"scene": "s1", "hour": "13"}


@pytest.mark.parametrize("arm", ["dtn", "ple"])
def test_the_reply_equals_pytorch(stack: Stack, arm: str) -> None:
    reference = Reference(stack.folder / "data", stack.folder / "runs" / arm)
    items = reference.keys(Side.ITEM)
    crosses = [{"position": str(1 + i % 10)} for i in range(100)]
    for user in reference.keys(Side.USER)[:5]:
        chosen = [items[i % len(items)] for i in range(100)]
        body = {
            "user": {"id": user}, "context": CONTEXT, "arm": arm,
            "items": [{"id": item, "features": cross} for item, cross in zip(chosen, crosses, strict=True)],
        }  # fmt: skip
        status, reply = stack.post(body)
        assert status == 200, reply
        assert reply["item_ids"] == chosen
        assert reply["model"]["name"] == arm
        assert reply["degraded"] == []
        expected = reference.scores(user, chosen, CONTEXT, crosses)
        expected["ctcvr"] = expected["ctr"] * expected["cvr"]
        assert set(reply["scores"]) == {"ctr", "cvr", "ctcvr"}
        for task, scores in expected.items():
            np.testing.assert_allclose(reply["scores"][task], scores, atol=1e-5, rtol=0)


def test_the_two_arms_give_different_scores(stack: Stack) -> None:
    body = {"user": {"id": "u1"}, "item_ids": ["i1", "i2"]}
    dtn, ple = (stack.post(body | {"arm": arm})[1]["scores"]["ctr"] for arm in ("dtn", "ple"))
    assert np.abs(np.subtract(dtn, ple)).max() > 1e-4


def arm_of(stack: Stack, user: str) -> str:
    status, reply = stack.post({"user": {"id": user}, "item_ids": ["i1"]})
    assert status == 200
    assert reply["experiment"]["reason"] == "assigned"
    assert reply["model"]["name"] == reply["experiment"]["arm"]
    arm: str = reply["experiment"]["arm"]
    return arm


def test_a_user_always_meets_the_same_arm(stack: Stack) -> None:
    first = {f"visitor-{i}": arm_of(stack, f"visitor-{i}") for i in range(30)}
    again = {user: arm_of(stack, user) for user in reversed(first)}
    assert again == first
    assert set(first.values()) == {"dtn", "ple"}


def test_ten_thousand_users_split_as_configured(stack: Stack) -> None:
    with ThreadPoolExecutor(4) as pool:
        arms = Counter(pool.map(lambda i: arm_of(stack, f"person-{i}"), range(10_000)))
    assert sum(arms.values()) == 10_000
    assert abs(arms["dtn"] - 5_000) < 200  # four standard deviations of a fair split


def test_unknown_users_and_items_are_scored_and_counted(stack: Stack) -> None:
    def missing() -> dict[str, float]:
        lines = stack.get("/metrics")[1].splitlines()
        return {line.split()[0]: float(line.split()[1]) for line in lines if "missing" in line and line[0] != "#"}

    before = missing()
    status, reply = stack.post({"user": {"id": "nobody"}, "item_ids": ["i1", "nothing", "nothing either"]})
    assert status == 200
    assert len(reply["scores"]["ctr"]) == 3
    assert reply["scores"]["ctr"][1] == reply["scores"]["ctr"][2] != reply["scores"]["ctr"][0]
    grown = sorted(value - before.get(name, 0) for name, value in missing().items())
    assert grown[-2:] == [1, 2]
