"""The part that the libraries' scripts share."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import binary_cross_entropy

from training.peers.environments import ROOT
from training.peers.trial import Clock, Column, Trial, auc_of_known, known_loss


def trial(folder: Path, **changes: object) -> Trial:
    """A trial of five rows, written and read back."""
    settings: dict[str, object] = {
        "model": "ple", "batch_size": 4, "seed": 0, "epochs": 2, "parts": 2, "patience": 3, "steps": None, "sizes": {},
        "columns": [{"name": "f0", "kind": "categorical", "size": 9, "slots": 1}], "tasks": ["a", "b"],
        "selection": [3.0, 1.0], "zoo": None,
    }  # fmt: skip
    (folder / "trial.json").write_text(json.dumps(settings | changes))
    labels = np.array([[0, 1], [1, 0], [0, 1], [1, np.nan], [0, 0]], np.float32)
    arrays = {f"{split}/{name}": values for split in ("train", "test") for name, values in
              (("f0", np.arange(5)), ("labels", labels))}  # fmt: skip
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]  # its stub wants a bool among the arrays
    return Trial.read(folder / "trial.json")


def test_a_split_is_read_as_written(tmp_path: Path) -> None:
    read = trial(tmp_path)
    assert read.columns == (Column("f0", "categorical", 9),)
    inputs, labels = read.split("train")
    assert inputs["f0"].tolist() == [0, 1, 2, 3, 4]
    assert labels.shape == (5, 2)


def test_throughput_repeats_training_rows_alone(tmp_path: Path) -> None:
    read = trial(tmp_path, steps=3)
    assert read.split("train")[0]["f0"].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert len(read.split("train")[1]) == 12
    assert len(read.split("test")[1]) == 5


def test_parts_cover_an_epoch(tmp_path: Path) -> None:
    read = trial(tmp_path)
    assert read.part_ends(7) == [4, 7]
    assert read.part_ends(1) == [1]


def test_the_score_leaves_out_tasks_without_weight(tmp_path: Path) -> None:
    assert trial(tmp_path).score([0.8, 0.6]) == pytest.approx(0.75)
    assert trial(tmp_path, selection=[2.0, 0.0]).score([0.8, float("nan")]) == pytest.approx(0.8)


def test_the_result_is_written(tmp_path: Path) -> None:
    clock = Clock()
    with clock.window(40):
        pass
    trial(tmp_path).report("numpy", clock, 7, np.full((5, 2), 0.5), "noted")
    result = json.loads((tmp_path / "result.json").read_bytes())
    assert result["versions"] == {"numpy": np.__version__, "torch": torch.__version__}
    assert (result["parameters"], result["note"], result["windows"][0][0]) == (7, "noted", 40)
    assert np.load(tmp_path / "predictions.npy").shape == (5, 2)


def test_auc_is_of_known_labels() -> None:
    labels, scores = np.array([0, 1, np.nan, 1, 0]), np.array([0.2, 0.1, 0.9, 0.7, 0.3])
    assert auc_of_known(labels, scores) == roc_auc_score([0, 1, 1, 0], [0.2, 0.1, 0.7, 0.3])
    assert np.isnan(auc_of_known(np.array([1, np.nan]), scores[:2]))


def test_the_loss_leaves_out_unknown_labels() -> None:
    predicted = torch.tensor([0.2, 0.6, 0.9], requires_grad=True)
    labels = torch.tensor([0.0, float("nan"), 1.0])
    expected = binary_cross_entropy(predicted[[0, 2]], labels[[0, 2]])
    assert known_loss(predicted, labels) == expected
    assert known_loss(predicted, labels, reduction="sum") == 2 * expected
    known_loss(predicted, labels).backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert known_loss(predicted, torch.full((3,), float("nan"))) == 0  # a batch in which nobody clicked
    every = torch.tensor([0.0, 1.0, 1.0])
    assert known_loss(predicted, every) == binary_cross_entropy(predicted, every)


def test_scripts_load_nothing_of_twinscore_but_what_they_share() -> None:
    ours = "name.split('.')[0] in ('training', 'contract')"
    code = f"import sys, training.peers.trial; print(*sorted(name for name in sys.modules if {ours}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["training", "training.peers", "training.peers.trial"]
    for script in (ROOT / "training" / "peers").glob("*.txt"):
        source = script.with_suffix(".py").read_text()
        imported = re.findall(r"^\s*(?:from|import) ((?:training|contract)\S*)", source, re.MULTILINE)
        assert imported == ["training.peers.trial"]
