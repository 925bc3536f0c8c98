"""The command line: what it accepts, what it leaves behind."""

import json
from pathlib import Path

import pytest

from contract.command import run
from contract.errors import ConfigError
from tests.training import tiny
from training.peers import environments
from training.peers.__main__ import main, parse


def test_defaults_are_the_comparison() -> None:
    args = parse(["--data", "d"])
    assert args.libraries == ("deepctr_torch", "fuxictr", "torch_rechub")
    assert (args.models, args.batch_sizes, args.seeds, args.epochs, args.patience) == (
        ("ple", "mmoe"),
        (256,),
        1,
        12,
        5,
    )
    assert parse(["--data", "d", "--throughput"]).batch_sizes == (1024, 4096)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (("--libraries", "recbole"), "'recbole' is not one of deepctr_torch, fuxictr, torch_rechub"),
        (("--models", "dtn"), "'dtn' is not one of ple, mmoe"),
        (("--models", ","), "give one or more of ple, mmoe"),
        (("--batch-size", "64,0"), "whole numbers above 0"),
        (("--workers", "-1"), "give 0 or more"),
        (("--fuxictr-zoo", "nowhere"), "no PLE/src in it"),
    ],
)
def test_what_is_not_known_is_refused(given: tuple[str, str], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        parse(["--data", "d", *given])


def test_data_that_are_not_there_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: main(["--data", str(tmp_path)])) == 2
    assert "not a prepared data set" in capsys.readouterr().err


def test_a_failed_run_is_in_the_table_the_file_and_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path / "a file")
    (tmp_path / "a file").touch()  # so that no environment can be made
    data, out = tiny.prepare(tmp_path / "data", tiny.schema()), tmp_path / "out" / "peers.json"
    asked = ["--data", str(data), "--libraries", "fuxictr", "--models", "ple,mmoe", "--out", str(out)]
    assert main(asked) == 1
    rows = json.loads(out.read_bytes())["rows"]
    assert [(row["library"], row["model"]) for row in rows] == [("fuxictr", "ple"), ("fuxictr", "mmoe")]
    assert all(row["error"].startswith("environment of fuxictr: ") for row in rows)
    assert capsys.readouterr().out.count("FAILED") == 4  # a line each as they end, and in the table
