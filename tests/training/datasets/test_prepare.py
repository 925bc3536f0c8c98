"""The command line: what a person types, what it prints, how it ends."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.errors import ConfigError, DataError
from contract.schema import Side
from tests.training.datasets.shop import SCHEMA, write_shop
from training.__main__ import main
from training.datasets.prepared import KEY, Prepared


def test_synthetic_with_its_raw_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, raw = tmp_path / "out", tmp_path / "raw"
    arguments = ["prepare", "synthetic", "--rows", "5000", "--users", "300", "--items", "50"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert Prepared.open(out).description.users == 300
    printed = capsys.readouterr().out
    assert "train             4,000 rows   ctr" in printed
    assert "300 users, 50 items" in printed
    assert main(["synthetic", *arguments[2:], "--out", str(raw)]) == 0
    assert main(["prepare", "table", "--raw", str(raw), "--out", str(out)]) == 0
    assert Prepared.open(out).description.source == "table"


def test_the_truth_has_options(tmp_path: Path) -> None:
    arguments = ["prepare", "synthetic", "--rows", "5000", "--out", str(tmp_path), "--shape", "flat"]
    assert main([*arguments, "--pairs", "1.2", "--specific", "1", "--pair-fields", "small", "--rho", "0"]) == 0
    prepared = Prepared.open(tmp_path)
    assert prepared.description.source.endswith("flat by small fields, factors 0.2, pairs 1.2, rho 0, specific 1")
    truth = prepared.matrices("train").truth
    assert truth["ctr"].mean() == pytest.approx(0.1, abs=0.01)
    assert np.average(truth["cvr"], weights=truth["ctr"]) == pytest.approx(0.2, abs=0.02)
    assert main([*arguments, "--click-rate", "0.3"]) == 0
    assert prepared.matrices("train").truth["ctr"].mean() == pytest.approx(0.3, abs=0.02)


def test_halves_are_of_the_flat_shape(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--pair-fields chooses between the halves of --shape flat"):
        main(["prepare", "synthetic", "--pair-fields", "small", "--out", str(tmp_path)])


def test_table_by_file_names(tmp_path: Path) -> None:
    raw, out = write_shop(tmp_path / "raw"), tmp_path / "out"
    files = [argument for stem in ("interactions", "users", "items") for argument in (f"--{stem}", f"{raw}/{stem}.csv")]
    assert main(["prepare", "table", *files, "--schema", f"{raw}/schema.yaml", "--out", str(out)]) == 0
    assert main(["prepare", "table", "--raw", f"{raw}/interactions.csv", *files[2:], "--out", str(out)]) == 0
    assert Prepared.open(out).description.items == 12


@pytest.mark.parametrize("folder", ["seed=1", "data[1]", "a b*", "größe"])
def test_any_folder_name_will_do(tmp_path: Path, folder: str) -> None:
    raw = write_shop(tmp_path / folder)
    pl.read_csv(raw / "users.csv", glob=False).write_parquet(raw / "users.parquet")
    (raw / "users.csv").unlink()
    assert main(["prepare", "table", "--raw", str(raw), "--out", str(raw / "out")]) == 0
    prepared = Prepared.open(raw / "out")
    assert len(prepared.matrices("train")) == 280
    assert prepared.table(Side.USER).collect_schema().names() == [KEY, "user_id", "age", "tags", "city"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/out: cannot be written: (Not a directory|File exists)"):
        main(["prepare", "table", "--raw", str(write_shop(tmp_path / "raw")), "--out", str(tmp_path / "file" / "out")])


def test_an_error_is_one_line_and_status_2(tmp_path: Path) -> None:
    raw = write_shop(tmp_path / "raw", schema=SCHEMA.replace("label: click", "label: clicks"))
    ended = run("prepare", "table", "--raw", str(raw), "--out", str(tmp_path / "out"))
    assert ended.returncode == 2
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "no column 'clicks'" in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--rows", "0"],
        ["--click-rate", "1"],
        ["--conversion-rate", "-1"],
        ["--seed", "x"],
        ["--pairs", "-1"],
        ["--pairs", "nan"],
        ["--specific", "1.1"],
        ["--rho", "2"],
        ["--shape", "round"],
    ],
)
def test_impossible_sizes_are_refused(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", "synthetic", *wrong, "--out", str(tmp_path)])


def test_nothing_here_imports_torch() -> None:
    files = (path for path in Path("training/datasets").rglob("*.py") if path.stem != "__init__")
    imports = "; ".join(f"import {'.'.join(path.with_suffix('').parts)}" for path in files)
    code = f"{imports}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
