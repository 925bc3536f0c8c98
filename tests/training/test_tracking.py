"""TensorBoard events, and MLflow: told where it is set, and never a reason to stop."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from tests.training import tiny
from training.__main__ import main
from training.tracking import Tracker

SETTINGS = ("batch_size=100", "epochs=2", "model.embedding=4", "learning_rate=0.01", "patience=9")


def arguments(folder: Path) -> list[str]:
    data = folder / "data" if (folder / "data").exists() else tiny.prepare(folder / "data", tiny.schema())
    chosen = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", "--data", str(data), "--model", "ple", "--out", str(folder / "run"), "--device", "cpu", *chosen]


def scalars(events: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name."""
    read = EventAccumulator(str(events))
    read.Reload()
    return {name: [(event.step, event.value) for event in read.Scalars(name)] for name in read.Tags()["scalars"]}


def test_events_tell_each_validation_and_the_end(tmp_path: Path) -> None:
    assert not main(arguments(tmp_path))
    found = scalars(tmp_path / "run" / "events")
    assert [step for step, _ in found["validation/ctr/auc"]] == [2, 4, 6, 8]
    assert [step for step, _ in found["train/cvr/loss"]] == [2, 4, 6, 8]
    assert all(0.1 < value < 2 for _, value in found["train/ctr/loss"])
    assert found["learning_rate"][-1][1] == pytest.approx(0.01)
    assert found["rows_per_second"][0][1] > 0
    assert "kept/test/ctcvr/log_loss" in found


MLFLOW = """
import sys, warnings
import mlflow
from training.__main__ import main
status = main(sys.argv[1:])
(run,) = mlflow.search_runs(experiment_names=["twinscore"], output_format="list")
steps = [m.step for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, "validation/ctr/auc")]
print("FOUND", run.info.status, run.info.run_name, run.data.params["recipe.learning_rate"], steps)
"""


def test_mlflow_is_told_where_it_is_set(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    # in a process of its own: MLflow keeps its settings for good
    environment = os.environ | {"MLFLOW_TRACKING_URI": (tmp_path / "ml").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    ended = subprocess.run(
        [sys.executable, "-c", MLFLOW, *arguments(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert "FOUND FINISHED run 0.01 [2, 4, 6, 8]" in ended.stdout, ended.stdout + ended.stderr


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tracking server that is away."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
        yield


@pytest.mark.usefixtures("nobody")
def test_a_server_that_is_away_costs_one_line(tmp_path: Path) -> None:
    heard = StringIO()
    tracker = Tracker(tmp_path / "events", "run", {"a": 1}, Console(file=heard))
    tracker.validated(3, {}, {"learning_rate": 0.5})
    tracker.finished(3, {}, 100.0)
    assert heard.getvalue().count("warning: no MLflow tracking") == 1
    assert len(heard.getvalue().strip().splitlines()) == 1
    assert scalars(tmp_path / "events")["learning_rate"] == [(3, 0.5)]
