"""The Open Bandit logs, replayed: click rates from the files, and what needs no model."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ConfigError
from training.__main__ import main
from training.replay.command import evaluate
from training.replay.log import read_logs
from training.replay.policy import greedy, softmax

RAW = Path(os.environ.get("TWINSCORE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "open-bandit"
needs_data = pytest.mark.skipif(not RAW.is_dir(), reason="the Open Bandit Dataset is not in TWINSCORE_DATA")


@needs_data
def test_click_rates_are_those_of_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--raw", str(RAW), "--out", str(tmp_path / "replay.json")]) == 0
    lines = json.loads((tmp_path / "replay.json").read_text())
    pairs = [f"{policy}/{campaign}" for policy in ("random", "bts", "both") for campaign in ("men", "women")]
    assert [line["log"] for line in lines] == pairs
    for line in lines[:4]:
        policy, campaign = line["log"].split("/")
        with gzip.open(RAW / policy / campaign / f"{campaign}.csv.gz", "rt") as file:
            column = file.readline().strip().split(",").index("click")
            clicks = [int(row.split(",")[column]) for row in file]
        assert (line["rounds"], line["clicks"]) == (len(clicks), sum(clicks))
        assert line["estimate"]["value"] == pytest.approx(sum(clicks) / len(clicks))
        assert line["estimate"]["effective"] == pytest.approx(len(clicks))
    assert "bts - random" in capsys.readouterr().out


@needs_data
def test_uniform_choice_from_the_uniform_log_is_its_own_mean() -> None:
    log, later = read_logs(RAW)[0]
    assert 0.1 < later.mean() < 0.6
    kept = log.at(later)
    assert len(kept.rows) == later.sum() == len(kept.rounds.reward)
    ctr = np.tile(np.linspace(0.001, 0.01, len(log.items)), (len(kept.rows), 1))
    lines = {(line.policy, line.estimator): line.estimate for line in evaluate(kept, ctr, "flat", 1.0)}
    # propensities are 1/34 to six digits
    assert lines["uniform", "IPS"].value == pytest.approx(kept.rounds.reward.mean(), rel=1e-4)
    assert lines["flat, greedy", "IPS"].effective < 0.05 * len(kept.rows)
    assert lines["flat, sampled", "SNIPS"].effective > 0.5 * len(kept.rows)


def test_policies_are_probabilities() -> None:
    ctr = np.array([[0.1, 0.3, 0.2], [0.0, 0.0, 0.5]])
    assert greedy(ctr).tolist() == [[0, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(softmax(ctr, 1.0)[0], [1 / 6, 1 / 2, 1 / 3])
    np.testing.assert_allclose(softmax(ctr, 0.5).sum(axis=1), 1)
    assert softmax(ctr, 0.01)[0, 1] == pytest.approx(1)


def test_careless_arguments_are_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        (["--run", "runs/ple"], "also give --data"),
        (["--temperature", "0"], "above 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            main(["replay", "--raw", str(tmp_path), *arguments])
