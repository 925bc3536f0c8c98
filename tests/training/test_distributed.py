"""Two processes of torchrun give the result of one at the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.training import tiny
from tests.training.processes import without_noise
from training.checkpoint import load_checkpoint
from training.config import read_recipe
from training.train import train

# calibration magnifies differences of tiny logits
SAME = (
    "batch_size=90",
    "epochs=2",
    "learning_rate=1e-2",
    "patience=9",
    "model.dropout=0",
    "model.embedding=4",
    "model.embedding_std=0.25",
    "model.calibration=none",
)
CASES = {
    "ple": ("ple", ("uncertainty_weighting=true", "clip_norm=1.0")),
    "rowwise": ("ple", ("table_optimiser=rowwise_adagrad",)),
    "sparse": ("ple", ("table_optimiser=sparse_adam",)),
    "htlnet": ("htlnet", ()),  # its backward goes past DistributedDataParallel
    "resumed": ("ple", ("batch_size=20",)),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/one/CASE of one process, and runs/two/CASE of two."""
    folder = tmp_path_factory.mktemp("distributed")
    data = tiny.prepare(folder / "data", tiny.schema(), rows=401)  # the last batch has 41 rows: 21 and 20
    orders = []
    for name, (model, settings) in CASES.items():
        with without_noise():
            train(data, model, read_recipe(model, assignments=[*SAME, *settings]), folder / "one" / name, 1, "cpu")
        stop = 18 if name == "resumed" else 0  # it stops at step 32, when the processes agree
        orders.append((model, str(data), str(folder / "two" / name), [*SAME, *settings], stop))
    streamed = [*SAME, "memory_rows=0", "table_optimiser=adamw"]
    orders.append(("ple", str(data), str(folder / "two" / "streamed"), streamed, 0))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*command, "-m", "tests.training.processes", json.dumps(orders)],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert not ended.returncode, ended.stderr[-3000:]
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_weights_of_one(case: str, runs: Path) -> None:
    one, two = (load_file(runs / part / case / "model.safetensors") for part in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        np.testing.assert_allclose(two[name], weight, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_over_all_rows(case: str, runs: Path) -> None:
    one, two = (load_checkpoint(runs / part / case) for part in ("one", "two"))
    assert (one.config.processes, two.config.processes) == (1, 2)
    assert one.config.steps == two.config.steps
    for split, tasks in one.metrics.items():
        for task, found in tasks.items():
            other = dict(two.metrics[split][task])
            assert other.keys() == found.keys()
            for name, value in dict(found).items():
                assert other[name] == (None if value is None else pytest.approx(value, rel=1e-3, abs=1e-3)), name
            assert other["rows"] == found["rows"]


def test_a_process_without_rows_keeps_step(runs: Path) -> None:
    run = load_checkpoint(runs / "two" / "streamed")  # one block of rows: the second process has none
    assert run.config.steps in range(1, 20)
    assert run.metrics["test"]["ctr"]["rows"] == 401
