"""Environments: made from pinned versions, remade where those change."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from training.peers import environments


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one library whose versions are pinned to nothing at all."""
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path / "environments")
    (tmp_path / "nothing.txt").write_text("# no package\n")
    return tmp_path


def test_every_library_has_a_script_and_pins_every_version() -> None:
    assert environments.LIBRARIES == ("deepctr_torch", "fuxictr", "torch_rechub")
    for library in environments.LIBRARIES:
        assert (environments.HERE / f"{library}.py").is_file()
        lines = (environments.HERE / f"{library}.txt").read_text().splitlines()
        assert all("==" in line for line in lines)
        assert "torch==2.13.0" in lines
        assert any(line.startswith(library.replace("_", "-") + "==") for line in lines)


def test_an_environment_is_made_once_and_again_where_versions_change(here: Path) -> None:
    assert not environments.is_ready("nothing")
    environments.prepare("nothing")
    assert environments.is_ready("nothing")
    assert environments.python_of("nothing").is_file()
    left = here / "environments" / "nothing" / "left"
    left.touch()
    environments.prepare("nothing")
    assert left.is_file()
    (here / "nothing.txt").write_text("# still no package\n")
    assert not environments.is_ready("nothing")
    environments.prepare("nothing")
    assert not left.exists()


def test_a_failing_pip_is_one_line_and_leaves_no_ready_environment(here: Path) -> None:
    (here / "nothing.txt").write_text("not a requirement !\n")
    with pytest.raises(ConfigError, match=r"^environment of nothing: [^\n]+$"):
        environments.prepare("nothing")
    assert not environments.is_ready("nothing")


def test_the_last_line_that_says_anything() -> None:
    assert environments.last_line("Traceback\n  File\nValueError: no\n\n", "-") == "ValueError: no"
    assert environments.last_line("\n", "nothing said") == "nothing said"
