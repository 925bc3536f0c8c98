"""Files and folders appear whole or not at all."""

from pathlib import Path

import pytest

from contract.files import whole_file, whole_folder, write_text


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "old")

    def fail() -> None:
        with whole_file(tmp_path / "deep" / "a.txt") as temporary:
            temporary.write_text("ha")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.read_text() for path in (tmp_path / "deep").iterdir()] == ["old"]


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with whole_folder(tmp_path / "data") as folder:
            (folder / content).touch()
            assert not (tmp_path / "data" / content).exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["data", "data/new"]


def test_a_folder_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "data") as folder:
        (folder / "old").touch()

    def fail() -> None:
        with whole_folder(tmp_path / "data") as folder:
            (folder / "new").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["data", "data/old"]


def test_an_interruption_between_the_two_renames_gives_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with whole_folder(tmp_path / "data") as folder:
        (folder / "old").touch()
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise KeyboardInterrupt
        return rename(self, target)

    def replace() -> None:
        with whole_folder(tmp_path / "data") as folder:
            (folder / "new").touch()
            monkeypatch.setattr(Path, "rename", interrupted)

    with pytest.raises(KeyboardInterrupt):
        replace()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["data", "data/old"]
