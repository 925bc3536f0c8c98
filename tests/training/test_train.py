"""The `train` command on a tiny prepared data set, from arguments to RUN folder."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from contract.command import run
from contract.errors import ConfigError, DataError
from contract.schema import Field, Schema, Side, Task
from tests.training import tiny
from training.__main__ import main
from training.batches import Batch
from training.checkpoint import load_checkpoint
from training.datasets.prepared import Prepared
from training.evaluation import evaluate, selection_score
from training.metrics import TaskMetrics
from training.models import Ranker

SMALL = ("batch_size=100", "epochs=3", "model.embedding=4", "learning_rate=1e-2", "patience=10")
FAST = {"ple": (), "dtn": ("model.memonet.code_book=100", "model.width=8")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.prepare(tmp_path / "data", tiny.schema())


def arguments(data: Path, out: Path, *settings: str, model: str = "ple") -> list[str]:
    """Arguments of a small run."""
    chosen = [part for setting in (*SMALL, *FAST[model], *settings) for part in ("--set", setting)]
    return ["train", "--data", str(data), "--model", model, "--out", str(out), "--device", "cpu", *chosen]


def contents(run: Path) -> dict[str, bytes]:
    """What a run wrote, without what tells the time."""
    files = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.parent.name != "events"}
    config = json.loads(files["config.json"])
    assert config.pop("rows_per_second") > 0
    return files | {"config.json": json.dumps(config).encode()}


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT, as Ctrl-C does, in the middle of a step."""
    steps = iter(range(1, step + 1))

    def interrupted(model: Ranker, losses: Tensor) -> None:
        if next(steps) == step:
            signal.raise_signal(signal.SIGINT)
        losses.sum().backward()  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Ranker, "backward", interrupted)


@pytest.mark.parametrize("model", ["ple", "dtn"])
def test_a_run_learns_and_reports(model: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert not main(arguments(data, out, "epochs=15", model=model))
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json", "dictionaries", "events", "metrics.json", "model.safetensors", "sample.npz", "schema.json",
    ]  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_bytes())
    assert set(metrics) == {"validation", "test", "test, uncalibrated"}
    assert all(set(tasks) == {"ctr", "cvr", "ctcvr"} for tasks in metrics.values())
    assert metrics["test"]["ctr"]["auc"] > 0.6  # 0.5 where nothing was learnt, with an error of 0.03
    assert metrics["test"]["cvr"]["rows"] == metrics["test"]["ctr"]["positives"]
    assert f"{metrics['test']['cvr']['auc']:.4f}" in capsys.readouterr().out


def test_metrics_are_those_of_the_weights_kept(data: Path, tmp_path: Path) -> None:
    main(arguments(data, tmp_path / "run", "epochs=40", "learning_rate=0.05", "patience=6"))
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.config.steps < 40 * 4  # it stopped early, so the last weights were not the best
    matrices = Prepared.open(data).matrices("test")
    split = Batch.of(matrices, checkpoint.schema, torch.device("cpu"))
    assert evaluate(checkpoint.model, split)["ctr"] == pytest.approx(checkpoint.metrics["test"]["ctr"], abs=1e-6)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(data: Path, tmp_path: Path) -> None:
    for out, seed in (("one", "1"), ("two", "1"), ("other", "2")):
        main([*arguments(data, tmp_path / out, "model.dropout=0.2"), "--seed", seed])
    one, two, other = (contents(tmp_path / out) for out in ("one", "two", "other"))
    assert one == two
    assert one["model.safetensors"] != other["model.safetensors"]


def test_a_second_run_takes_the_place_of_the_first_whole(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    main(arguments(data, out))
    (out / "left over").touch()
    main(arguments(data, out, model="dtn"))
    assert not (out / "left over").exists()
    assert load_checkpoint(out).config.model == "dtn"


def test_ctrl_c_keeps_the_best_so_far(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_at(step=7, monkeypatch=monkeypatch)  # 4 steps an epoch: validated after 2, 4 and 6
    assert run(lambda: main(arguments(data, tmp_path / "run"))) == 130
    config = load_checkpoint(tmp_path / "run").config
    assert config.interrupted
    assert config.steps in (2, 4, 6)
    assert "interrupted: kept the best so far" in capsys.readouterr().out


def test_ctrl_c_before_the_first_validation_writes_no_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(step=2, monkeypatch=monkeypatch)
    assert run(lambda: main(arguments(data, tmp_path / "run"))) == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "run.unfinished"]


def test_a_run_that_diverges_says_so_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lower learning_rate"):
        main(arguments(data, tmp_path / "run", "learning_rate=1e30"))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_cuda_that_is_absent_is_an_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no CUDA device"):
        main([*arguments(data, tmp_path / "run"), "--device", "cuda"])


@pytest.mark.parametrize("model", ["ple", "dtn"])
def test_one_task_and_one_side(model: str, tmp_path: Path) -> None:
    fields = tuple(field for field in tiny.FIELDS if field.side in (Side.USER, Side.CONTEXT))
    data = tiny.prepare(tmp_path / "data", tiny.schema(fields, [tiny.CLICK]))
    main(arguments(data, tmp_path / "run", model=model))
    assert load_checkpoint(tmp_path / "run").metrics["test"]["ctr"].get("auc") is not None


def test_a_split_of_one_class_has_no_auc(tmp_path: Path) -> None:
    data = constant_labels(tmp_path / "data")
    main(arguments(data, tmp_path / "run"))
    metrics = load_checkpoint(tmp_path / "run").metrics["validation"]["t"]
    assert "auc" in metrics
    assert (metrics["auc"], metrics["calibration"]) == (None, None)
    assert metrics["log_loss"] is not None


def constant_labels(path: Path) -> Path:
    """Data in which nobody does anything."""
    import polars as pl

    tiny.prepare(path, Schema(fields=(Field(name="user", side=Side.USER, size=9),), tasks=(Task(name="t", label="l"),)))
    for file in (path / "interactions").glob("*/*.parquet"):
        pl.read_parquet(file).with_columns(pl.lit(0.0).cast(pl.Float32).alias("label:t")).write_parquet(file)
    return path


def test_data_without_a_labelled_row_are_refused(tmp_path: Path) -> None:
    data = tiny.prepare(tmp_path / "data", tiny.schema(), rows=0)
    with pytest.raises(DataError, match="no labelled row"):
        main(arguments(data, tmp_path / "run"))


def test_weights_of_tasks_that_are_not_there_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="task_weights: 'buy' is not one of the tasks ctr, cvr"):
        main(arguments(data, tmp_path / "run", "task_weights.buy=2"))


def test_a_folder_that_is_no_run_is_never_replaced(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training run"):
        main(arguments(data, data))
    assert (data / "prepared.json").is_file()


def test_selection_is_by_mean_auc_and_by_log_loss_where_there_is_none() -> None:
    def metrics(auc: float | None, log_loss: float | None, positives: int = 50) -> TaskMetrics:
        return {
            "auc": auc, "gauc": None, "gauc_share": None, "log_loss": log_loss, "ece": None, "calibration": None,
            "rows": 100, "positives": positives,
        }  # fmt: skip

    assert selection_score({"a": metrics(0.6, 9.0), "b": metrics(0.8, 9.0)}) == pytest.approx(0.7)
    assert selection_score({"a": metrics(0.6, 9.0), "b": metrics(None, 9.0)}) == pytest.approx(0.6)
    # variances 101 / (12 * 2500) and 101 / (12 * 99): the second AUC counts 99 where the first counts 2500
    rare = selection_score({"a": metrics(0.6, 9.0), "b": metrics(0.8, 9.0, positives=1)})
    assert rare == pytest.approx((2500 * 0.6 + 99 * 0.8) / 2599)
    assert selection_score({"a": metrics(None, 0.5), "b": metrics(None, None)}) == pytest.approx(-0.5)
    assert np.isnan(selection_score({"a": metrics(0.5, float("nan"))}))
