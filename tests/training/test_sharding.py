"""Tables cut over two processes of torchrun train to the weights of one process; what they cannot do is one line."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from contract.errors import ConfigError
from tests.training import tiny
from training.checkpoint import load_checkpoint
from training.config import read_recipe
from training.models import build_model
from training.models.ple import PLE
from training.sharding import check_sharded, shard
from training.train import train

SAME = (
    *("batch_size=90", "epochs=2", "learning_rate=1e-2", "patience=9", "model.dropout=0", "model.embedding=4"),
    *("table_optimiser=rowwise_adagrad", "table_learning_rate=3e-2", "schedule=cosine", "warmup_steps=3"),
)
SHARDED = (*SAME, "model.tables=sharded")
CASES = {"command": (), "resumed": ("batch_size=20",)}
STOP = 18  # stops at step 32, when the processes agree
needs_torchrec = pytest.mark.skipif(not find_spec("torchrec"), reason="torchrec is not installed")


def torchrun(module: str, *arguments: str) -> None:
    """Run a module in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", module]
    ended = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=240, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert not ended.returncode, ended.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/one/CASE of one process with whole tables, and runs/two/CASE of two with cut ones."""
    folder = tmp_path_factory.mktemp("sharded")
    data = tiny.prepare(folder / "data", tiny.schema(), rows=401)  # the last batch has 41 rows: 21 and 20
    for name, settings in CASES.items():
        train(data, "ple", read_recipe("ple", assignments=[*SAME, *settings]), folder / "one" / name, 1, "cpu")
    two = folder / "two"
    options = [part for setting in SHARDED for part in ("--set", setting)]
    where = ["--data", str(data), "--out", str(two / "command"), "--seed", "1", "--device", "cpu"]
    torchrun("training", "train", "--model", "ple", *where, *options)
    orders = [
        ("ple", str(data), str(two / "resumed"), [*SHARDED, *CASES["resumed"]], STOP),
        ("ple", str(data), str(two / "streamed"), [*SHARDED, "memory_rows=0"], 0),
    ]
    torchrun("tests.training.processes", json.dumps(orders))
    return folder


@needs_torchrec
@pytest.mark.parametrize("case", CASES)
def test_cut_tables_train_to_the_weights_of_whole_ones(case: str, runs: Path) -> None:
    one, two = (load_file(runs / part / case / "model.safetensors") for part in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        np.testing.assert_allclose(two[name], weight, rtol=1e-3, atol=1e-4, err_msg=name)


@needs_torchrec
def test_what_is_saved_is_an_ordinary_model(runs: Path) -> None:
    one, two = (load_checkpoint(runs / part / "command") for part in ("one", "two"))
    assert two.config.processes == 2
    inputs = tiny.inputs(tiny.schema(), items=50, requests=9)
    with torch.no_grad():
        for expected, found in zip(one.model(*inputs), two.model(*inputs), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    for task, expected_metrics in one.metrics["test"].items():
        before, after = dict(expected_metrics), dict(two.metrics["test"][task])
        assert after["log_loss"] == pytest.approx(before["log_loss"], rel=1e-3)


@needs_torchrec
def test_a_process_without_rows_answers_the_other(runs: Path) -> None:
    run = load_checkpoint(runs / "two" / "streamed")  # one block of rows: the second process has none
    assert run.config.steps in range(1, 20)
    assert run.metrics["test"]["ctr"]["rows"] == 401


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("table_optimiser=adamw", "set table_optimiser=rowwise_adagrad"),
        ("table_decay=0.1", "leave table_decay 0"),
        ("clip_norm=1.0", "leave clip_norm null"),
    ],
)
def test_what_cut_tables_cannot_do_is_one_line(setting: str, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^model.tables: sharded: [^\n]*{told}$"):
        check_sharded(read_recipe("ple", assignments=[*SHARDED, setting]))


def test_a_model_with_a_backward_of_its_own_is_refused() -> None:
    recipe = read_recipe("htlnet", assignments=SHARDED)
    with pytest.raises(ConfigError, match="gradients together itself; take one or field"):
        shard(build_model("htlnet", tiny.schema(), recipe.model), recipe, torch.device("cpu"))


def test_without_the_package_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchrec", None)
    data = tiny.prepare(tmp_path / "data", tiny.schema(), rows=40)
    with pytest.raises(
        ConfigError, match=r"^model.tables: sharded: needs TorchRec [^\n]*pip install [^\n]*sharded\]'$"
    ):
        train(data, "ple", read_recipe("ple", assignments=SHARDED), tmp_path / "run", 1, "cpu")
    assert not (tmp_path / "run").exists()


def test_one_process_keeps_its_tables_whole() -> None:
    recipe = read_recipe("ple", assignments=SHARDED)
    model = build_model("ple", tiny.schema(), recipe.model)
    shard(model, recipe, torch.device("cpu"))
    assert isinstance(model, PLE)
    assert isinstance(model.item.table, torch.nn.Embedding)
