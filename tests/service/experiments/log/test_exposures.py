"""What a scored request says to the log."""

from time import time
from typing import Any

from service.experiments.assignment import Assignment, Decision
from service.experiments.log.exposures import LONGEST_SEGMENT, exposures_of
from service.experiments.log.records import Exposure
from service.experiments.source import parse_experiments

TWO_LAYERS = """\
version: 3
default_model: ple
layers:
  - name: models
    salt: models
    experiments:
      - key: model
        phase: 2
        slots: [[0, 10000]]
        segments: [scene, hour, paid, tags]
        arms:
          - {name: control, model: ple, weight: 0}
          - {name: dtn, model: dtn, weight: 10000}
        control: control
  - name: pages
    salt: pages
    experiments:
      - key: page
        slots: [[0, 10000]]
        arms: [{name: blue, weight: 10000}]
        overrides: {u-qa: blue}
"""
ASSIGNMENT = Assignment(parse_experiments(TWO_LAYERS, "test").config)


def _of(
    decision: Decision, served: str | None = None, user: str | None = "u1", predicted: int | None = 31_000,
    **context: Any,
) -> list[Exposure]:  # fmt: skip
    return exposures_of(decision, served, "dtn@v1", "r1", user, 3, 50, predicted, context)


def test_a_request_is_exposed_to_each_layer() -> None:
    """With the intended arm, the draw and what scored."""
    before = int(time() * 1000)
    first, second = _of(ASSIGNMENT.decide("u1"))
    assert before <= first["time"] <= time() * 1000
    assert first == {
        "kind": "exposure",
        "time": first["time"],
        "request": "r1",
        "user": "u1",
        "key": "model",
        "phase": 2,
        "arm": "dtn",
        "served": "dtn",
        "model": "dtn@v1",
        "slot": ASSIGNMENT.layers[0].slot("u1"),
        "reason": "assigned",
        "config": 3,
        "items": 50,
        "predicted": 31_000,
    }
    assert (second["key"], second["phase"], second["arm"], second["served"]) == ("page", 1, "blue", "blue")
    assert second["slot"] == ASSIGNMENT.layers[1].slot("u1")


def test_a_fallback_is_of_the_layer_that_chose_the_model() -> None:
    """The page's arm was served all the same."""
    first, second = _of(ASSIGNMENT.decide("u1"), served="control")
    assert (first["arm"], first["served"]) == ("dtn", "control")
    assert (second["arm"], second["served"]) == ("blue", "blue")


def test_reasons_are_kept_apart() -> None:
    """An override of one layer is none of the other."""
    exposures = {each["key"]: each for each in _of(ASSIGNMENT.decide("u-qa"))}
    assert exposures["page"]["reason"] == "override"
    assert exposures["page"]["slot"] is None
    assert exposures["model"]["reason"] == "assigned"
    assert _of(ASSIGNMENT.decide(None, "dtn"), user="u1")[0]["reason"] == "forced"


def test_outside_every_experiment_there_is_none() -> None:
    """Nor without a user, to whom nothing could be attributed."""
    assert _of(Decision("ple", "holdout")) == []
    assert _of(ASSIGNMENT.decide(None, "dtn"), user=None) == []


def test_segments_are_the_named_fields_as_text() -> None:
    """What is no single value is no segment; text is cut."""
    context: dict[str, Any] = {"scene": "é" * 70, "hour": 8, "paid": True, "tags": ["a"], "other": "x"}
    first, second = _of(ASSIGNMENT.decide("u1"), **context)
    assert first["segments"] == {"scene": "é" * LONGEST_SEGMENT, "hour": "8", "paid": "true"}
    assert "segments" not in second
    assert "segments" not in _of(ASSIGNMENT.decide("u1"), scene=None)[0]


def test_a_model_without_ctr_predicts_nothing() -> None:
    """The field is left out."""
    assert "predicted" not in _of(ASSIGNMENT.decide("u1"), predicted=None)[0]
