"""A wrong reply is a failure."""

import json
from typing import Any

import pytest

from contract.schema import Task
from loadtest.payloads import Request
from loadtest.replies import judge

REQUEST = Request("{}", ["a", "b"])
TASKS = {"ple": (Task(name="ctr", label="click"), Task(name="value", kind="continuous", label="gmv"))}


def _reply(**changes: Any) -> bytes:
    scores = {"ctr": [0.1, 1], "ctcvr": [0, 0.5], "value": [-3.5, 80.0]}
    reply = {"item_ids": ["a", "b"], "scores": scores, "model": {"name": "ple"}, "degraded": ["features:timeout"]}
    return json.dumps(reply | changes).encode()


def test_right_reply_passes() -> None:
    verdict = judge(REQUEST, 200, _reply(), TASKS)
    assert (verdict.wrong, verdict.model, verdict.degraded) == (None, "ple", ["features:timeout"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"item_ids": ["b", "a"]}, "item_ids differ"),
        ({"item_ids": ["a"]}, "item_ids differ"),
        ({"scores": {"ctr": [0.1, 0.2]}}, "task value"),
        ({"scores": {"ctr": [0.1], "value": [1, 2]}}, "task ctr"),
        ({"scores": {"ctr": [0.1, None], "value": [1, 2]}}, "not a number"),
        ({"scores": {"ctr": [0.1, True], "value": [1, 2]}}, "not a number"),
        ({"scores": {"ctr": [0.1, 0.1], "value": [1, float("inf")]}}, "not a number"),
        ({"scores": {"ctr": [0.1, 1.01], "value": [1, 2]}}, "outside [0, 1]"),
        ({"scores": {"ctr": [0.1, 0.1], "value": [1, 2], "ctcvr": [0.1, -0.1]}}, "task ctcvr is outside"),
        ({"scores": [1, 2]}, "as designed"),
        ({"model": {"name": "other"}}, "not among the bundles"),
        ({"model": None}, "as designed"),
    ],
)
def test_wrong_reply_is_named(changes: dict[str, Any], named: str) -> None:
    wrong = judge(REQUEST, 200, _reply(**changes), TASKS).wrong
    assert wrong is not None
    assert named in wrong


def test_problem_is_named_by_its_title() -> None:
    body = b'{"title": "too many items", "detail": "1001 items"}'
    assert judge(REQUEST, 422, body, TASKS).wrong == "status 422: too many items"
    assert judge(REQUEST, 502, b"<html>", TASKS).wrong == "status 502"
    assert judge(REQUEST, 200, b"<html>", TASKS).wrong == "reply does not read as designed: JSONDecodeError"
