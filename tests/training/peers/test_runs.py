"""One run: the command, what comes back, and what a failure looks like."""

import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ConfigError
from contract.files import sha256
from tests.training import tiny
from training.datasets.prepared import Prepared
from training.metrics import auc
from training.peers import environments, runs
from training.peers.environments import LIBRARIES, is_ready
from training.peers.exchange import Exchange, exchange
from training.peers.runs import Budget, Outcome, rows_per_second, run

RESULT = """
import json, sys, pathlib, numpy
folder = pathlib.Path(sys.argv[-1]).parent
trial = json.loads((folder / "trial.json").read_bytes())
assert "{module}" in sys.argv, sys.argv
labels = numpy.load(folder / "data.npz")["test/labels"]
random = numpy.random.default_rng(trial["seed"])
numpy.save(folder / "predictions.npy", random.random(labels.shape).astype("f4"))
result = dict(versions=dict(torch="9"), parameters=5, windows=[[10, 9.0], [30, 1.5], [50, 1.0], [30, 1.0]], note="n")
(folder / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def data(tmp_path: Path) -> Exchange:
    return exchange(Prepared.open(tiny.prepare(tmp_path / "data", tiny.schema())))


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of torch_rechub that claims to be ready; returns its interpreter, to be written."""
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    python = environments.python_of("torch_rechub")
    python.parent.mkdir(parents=True)
    (tmp_path / "torch_rechub" / ".ready").write_text(sha256(environments.HERE / "torch_rechub.txt"))
    return python


def write_script(path: Path, script: str) -> None:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_the_script_runs_as_a_module_of_its_own_environment() -> None:
    python, *rest = runs.command("fuxictr", Path("x/trial.json"))
    assert python.endswith(".run/peers/fuxictr/bin/python")
    assert rest == ["-P", "-m", "training.peers.fuxictr", "x/trial.json"]  # -P: the folder holds a fuxictr.py


def test_a_result_becomes_a_row(data: Exchange, pretended: Path, tmp_path: Path) -> None:
    script = tmp_path / "result.py"
    script.write_text(RESULT.replace("{module}", "training.peers.torch_rechub"))
    write_script(pretended, f'exec {sys.executable} {script} "$@"')
    row = run("torch_rechub", "mmoe", 64, 7, Budget(), data)
    assert (row.library, row.model, row.batch_size, row.seed, row.error) == ("torch_rechub", "mmoe", 64, 7, None)
    assert (row.parameters, row.versions, row.note) == (5, {"torch": "9"}, "n")
    assert row.rows_per_second == 30  # of 20, 50 and 30; the first window warms up
    labels = data.arrays["test/labels"]
    predicted = np.random.default_rng(7).random(labels.shape).astype(np.float32)
    clicked = labels[:, 0] == 1
    assert row.auc == {
        "ctr": auc(predicted[:, 0], labels[:, 0]),
        "cvr": auc(predicted[clicked, 1], labels[clicked, 1]),
    }
    assert row.predictions is not None
    assert "predictions" not in row.described()


def test_a_library_that_is_not_there_is_a_failed_row(data: Exchange, pretended: Path) -> None:
    write_script(pretended, f'exec {sys.executable} "$@"')  # our own interpreter, which has no such library
    row = run("torch_rechub", "ple", 64, 0, Budget(), data)
    assert row.error == "ModuleNotFoundError: No module named 'torch_rechub'"
    assert (row.auc, row.rows_per_second, row.predictions) == ({}, None, None)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("kill -9 $$", "ended by SIGKILL"),
        ("exit 3", "ended with 3 and no word"),
        ("echo 'Traceback' >&2; echo 'ValueError: what' >&2; exit 1", "ValueError: what"),
        ("exit 0", "no readable result: .*result.json"),
    ],
)
def test_whatever_fails_is_told(script: str, error: str, data: Exchange, pretended: Path) -> None:
    write_script(pretended, script)
    told = run("torch_rechub", "ple", 64, 0, Budget(), data).error
    assert told is not None
    with pytest.raises(ConfigError, match=f"^{error}"):
        raise ConfigError(told)


def test_predictions_that_cannot_be_judged_are_failures(data: Exchange) -> None:
    labels = data.arrays["test/labels"]
    with pytest.raises(ConfigError, match=r"predictions are \(3, 2\) where test labels are \(400, 2\)"):
        runs._aucs(np.zeros((3, 2), np.float32), data)
    with pytest.raises(ConfigError, match="diverged"):
        runs._aucs(np.full(labels.shape, np.nan, np.float32), data)


def test_rows_per_second_is_the_median_without_the_first() -> None:
    assert rows_per_second([(1, 100.0), (10, 1.0), (30, 1.0), (20, 1.0)]) == 20
    assert rows_per_second([(10, 2.0)]) == 5
    assert rows_per_second([]) is None


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ple", "mmoe"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_learns(library: str, model: str, tmp_path: Path) -> None:
    data = exchange(Prepared.open(tiny.prepare(tmp_path / "data", tiny.schema(), rows=3950)))
    row = installed(library, model, Budget(epochs=5, patience=10), data)
    assert row.error is None
    assert row.auc["ctr"] is not None
    assert row.auc["cvr"] is not None
    assert min(row.auc["ctr"], row.auc["cvr"]) > 0.65  # 0.5 where nothing was learnt, the truth has 0.73
    assert [rows for rows, _ in row.windows] == [2000, 1950] * 5
    embeddings = 16 * (21 + 7 + 64 + 5 + 11 + 64 + 4)
    assert row.parameters is not None
    assert row.parameters > embeddings


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_stops_early_and_goes_back_to_its_best(library: str, data: Exchange) -> None:
    row = installed(library, "ple", Budget(epochs=200, patience=2), data)
    assert row.error is None
    assert len(row.windows) < 200
    assert row.auc["ctr"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_throughput_takes_its_steps_and_evaluates_nothing(library: str, data: Exchange) -> None:
    row = installed(library, "ple", Budget(epochs=1, parts=3, patience=1, steps=9), data)
    assert row.error is None
    assert [rows for rows, _ in row.windows] == [300, 300, 300]
    assert (row.auc, row.predictions) == ({}, None)


def installed(library: str, model: str, budget: Budget, data: Exchange) -> Outcome:
    """Run in the library's real environment, batches of 100."""
    if not is_ready(library):
        pytest.skip(f"no environment of {library}: `python -m training.peers` makes it")
    return run(library, model, 100, 1, budget, data)
