"""The `benchmark` command on tiny data: from arguments to a report, through failures and interruptions."""

import json
import signal
from pathlib import Path

import pytest
from torch import Tensor

from contract.command import run
from contract.errors import ConfigError
from tests.training import tiny
from training.__main__ import main
from training.models import Ranker

SMALL = ("batch_size=100", "epochs=2", "model.embedding=4", "learning_rate=1e-2")
BAD = "bad=ple:learning_rate=1e30"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.prepare(tmp_path / "data", tiny.schema())


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    chosen = [part for setting in SMALL for part in ("--set", setting)]
    return ["benchmark", "--data", str(data), "--out", str(out), "--device", "cpu", *chosen, *more]


def outcomes(out: Path) -> dict[str, dict[str, object]]:
    """What ended, but for how long it took."""
    found = {f"{p.parent.name} {p.stem}": json.loads(p.read_bytes()) for p in sorted(out.glob("runs/*/*.json"))}
    return {
        name: {key: value for key, value in content.items() if key not in ("seconds", "rows_per_second")}
        for name, content in found.items()
    }


def times(out: Path) -> dict[Path, int]:
    """When each result was written."""
    return {path: path.stat().st_mtime_ns for folder in ("trials", "runs") for path in out.glob(f"{folder}/*/*.json")}


def test_from_arguments_to_a_report(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    given = arguments(data, out, "--models", "ple,shared_bottom", "--variant", BAD, "--seeds", "2", "--trials", "2")
    assert not main(given)
    told = capsys.readouterr().out
    assert "bad, seed 1: FAILED: training diverged" in told
    found = outcomes(out)
    assert set(found) == {f"{name} {seed}" for name in ("ple", "shared_bottom", "bad") for seed in (0, 1)}
    assert len(list((out / "trials" / "ple").glob("*.json"))) == 2
    markdown, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    for text in (markdown, page):
        for part in ("ctcvr over impressions", "cvr over ctr = 1", "MACs a row", "training diverged", "within a seed"):
            assert part in text
    assert page.count("<svg") == 3 == markdown.count(".svg)")
    for outside in ("src=", 'href="http', "@import", "url(http"):
        assert outside not in page
    metrics = found["shared_bottom 0"]["metrics"]
    assert isinstance(metrics, dict)
    assert set(metrics) == {"ctr", "cvr", "ctcvr"}
    before = times(out)
    main([*given, "--max-seconds", "0"])
    assert times(out) == before
    assert outcomes(out) == found


def test_after_ctrl_c_the_same_command_gives_what_it_would_have(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--models", "ple", "--seeds", "2", "--trials", "2")
    main(arguments(data, tmp_path / "whole", *more))
    steps = iter(range(10_000))

    def interrupted(model: Ranker, losses: Tensor) -> None:
        if next(steps) == 20:  # 8 steps a run: in the first run after the trials
            signal.raise_signal(signal.SIGINT)
        losses.sum().backward()  # type: ignore[no-untyped-call]

    with monkeypatch.context() as patched:
        patched.setattr(Ranker, "backward", interrupted)
        assert run(lambda: main(arguments(data, tmp_path / "out", *more))) == 130
    kept = times(tmp_path / "out")
    assert [path.parent.parent.name for path in kept] == ["trials", "trials"]
    main(arguments(data, tmp_path / "out", *more))
    assert times(tmp_path / "out").items() > kept.items()
    assert outcomes(tmp_path / "out") == outcomes(tmp_path / "whole")


def test_seeds_differ_and_join(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main(arguments(data, out, "--models", "ple", "--seeds", "1"))
    first = times(out)
    main(arguments(data, out, "--models", "ple", "--seeds", "2"))
    assert times(out).items() > first.items()
    found = outcomes(out)
    assert found["ple 0"]["metrics"] != found["ple 1"]["metrics"]


def test_what_failed_is_done_again_when_asked(data: Path, tmp_path: Path) -> None:
    more = ("--models", "ple", "--variant", BAD, "--seeds", "1")
    main(arguments(data, tmp_path / "out", *more))
    before = times(tmp_path / "out")
    main(arguments(data, tmp_path / "out", *more, "--retry"))
    again = {path.parent.name for path, time in times(tmp_path / "out").items() if time != before[path]}
    assert again == {"bad"}


def test_a_baseline_that_is_not_there_is_an_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--baseline ple: is not among dtn"):
        main(arguments(data, tmp_path / "out", "--models", "dtn"))


@pytest.mark.parametrize("name", ["trials/ple/000.json", "runs/ple/0.json", "runs/ple/0.npy"])
def test_a_damaged_result_is_one_line_that_says_what_to_do(name: str, data: Path, tmp_path: Path) -> None:
    given = arguments(data, tmp_path / "out", "--models", "ple,esmm", "--seeds", "1", "--trials", "1")
    main(given)
    (tmp_path / "out" / name).write_text("{")
    with pytest.raises(ConfigError, match="to run it again"):
        main(given)
