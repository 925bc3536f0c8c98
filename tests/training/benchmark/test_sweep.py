"""The `sweep` command over two tiny logs."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from tests.training.benchmark.test_command import times
from training.__main__ import main

LOG = "--shape flat --rows 2000 --users 50 --items 20 --click-rate .3 --conversion-rate .5"


def arguments(out: Path, *more: str, log: str = LOG) -> list[str]:
    fast = [part for s in ("epochs=1", "batch_size=500", "model.embedding=4") for part in ("--set", s)]
    return ["sweep", "--out", str(out), "--prepare", log, "--data-seeds", "1", "--device", "cpu", *fast, *more]


def test_from_options_to_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    given = arguments(out, "--models", "ple,shared_bottom", "--grid", "pairs=0,1.5", "specific=1")
    main(given)
    assert len(list(out.glob("runs/*/*/1.json"))) == 4
    page = (out / "report.html").read_text()
    assert "pairs 1.5, specific 1" in page
    assert "shared_bottom − ple" in page
    assert page.count("<svg") == 1
    assert not list(out.glob(".data-*"))
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/1.json")}
    main(given)
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/1.json")}
    assert "FAILED" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match="other data"):
        main(arguments(out, "--models", "ple", "--grid", "pairs=0", "specific=1", log=LOG + " --rho 1"))


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        (("pairs=0,x",), "invalid _strength value: 'x'|pairs"),
        (("pairs",), "write one or two options with values"),
        (("a=1", "b=1", "c=1"), "write one or two options"),
        (("nothing=1",), "unrecognized arguments: --nothing=1"),
    ],
)
def test_a_bad_grid_is_an_error_before_the_first_run(grid: tuple[str, ...], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        main(arguments(tmp_path / "out", "--models", "ple", "--grid", *grid))
    assert not times(tmp_path / "out")
