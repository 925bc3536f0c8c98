"""`python -m training describe` as it is called."""

import json
import tempfile
from pathlib import Path

import pytest

from contract.errors import DataError
from tests.training.describe.planted import Planted, plant
from training.__main__ import main
from training.describe import command
from training.describe.findings import Findings

EVIL = "<script>alert(1)</script>"


def test_text_page_and_json(leaking: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, numbers = tmp_path / "deep" / "page.html", tmp_path / "found.json"
    assert main(["describe", "--data", str(leaking.data.path), "--out", str(page), "--json", str(numbers)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("LEAK")
    assert "outcome equals the label of ctr" in told
    assert str(page) in told
    assert "bad rows that prepare skipped: 3" in told
    assert "conversions without a click: 1,234" in told
    assert "conversions without a click</dt><dd>1,234" in page.read_text()
    assert Findings.model_validate_json(numbers.read_bytes()).alarms
    assert {field["name"] for field in json.loads(numbers.read_text())["fields"]} >= {"dwell", "user_device"}
    assert "outcome equals the label" in page.read_text()


def test_exit_status_for_pipelines(clean: Planted, leaking: Planted, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "page.html"), "--fail-on-leak"]
    assert main(["describe", "--data", str(clean.data.path), *out]) == 0
    assert main(["describe", "--data", str(leaking.data.path), *out]) == 1


def test_the_page_is_beside_the_data_unless_told(tmp_path: Path) -> None:
    folder = plant(tmp_path / "data").data.path
    assert main(["describe", "--data", str(folder), "--top", "2"]) == 0
    assert (folder / command.PAGE).is_file()


def test_what_it_reads_is_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plant(tmp_path / "data", source=f"{EVIL} [red]").data.path
    assert main(["describe", "--data", str(folder)]) == 0
    page = (folder / command.PAGE).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert f"{EVIL} [red]" in capsys.readouterr().out


def test_what_cannot_be_done_is_one_line(clean: Planted, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a prepared data set"):
        main(["describe", "--data", str(tmp_path)])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        main(["describe", "--data", str(clean.data.path), "--out", str(tmp_path / "file" / "page.html")])
    with pytest.raises(DataError, match="is a folder"):
        main(["describe", "--data", str(clean.data.path), "--json", str(tmp_path)])
    damaged = plant(tmp_path / "damaged").data.path
    part = damaged / "interactions" / "validation" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"damaged: cannot be read: .*; prepare it again"):
        main(["describe", "--data", str(damaged)])
    with pytest.raises(SystemExit):
        main(["describe", "--data", str(clean.data.path), "--top", "0"])


def test_interrupted_it_leaves_nothing(clean: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def interrupt(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command.describe(clean.data, watch=interrupt)
    assert list(tmp_path.iterdir()) == []
