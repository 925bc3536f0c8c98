"""Environments of peers: made from pinned versions, brought up to date where those change."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.errors import ConfigError
from loadtest.peers.environments import is_ready, prepare


@dataclass(frozen=True)
class Nothing:
    """A peer without packages."""

    requirements: Path
    name: str = "nothing"


@pytest.fixture
def nothing(tmp_path: Path) -> Nothing:
    """Its file says nothing at all."""
    (tmp_path / "nothing.txt").write_text("# no package\n")
    return Nothing(tmp_path / "nothing.txt")


def test_an_environment_is_made_once_and_told_of(
    nothing: Nothing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = prepare(nothing, tmp_path)
    assert python == tmp_path / "nothing" / ".venv" / "bin" / "python"
    assert python.is_file()
    assert "nothing: making its environment" in capsys.readouterr().err
    assert prepare(nothing, tmp_path) == python
    assert capsys.readouterr().err == ""
    nothing.requirements.write_text("# still no package\n")
    assert not is_ready(nothing, tmp_path)


def test_a_failing_pip_is_one_line_and_leaves_no_ready_environment(nothing: Nothing, tmp_path: Path) -> None:
    nothing.requirements.write_text("not a requirement !\n")
    with pytest.raises(ConfigError, match=r"^environment of nothing: [^\n]+$"):
        prepare(nothing, tmp_path)
    assert not is_ready(nothing, tmp_path)
