"""A file is read when it has changed and stays as it is."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from service.experiments.change.watched import WatchedFile


def test_it_is_read_once_after_each_change_and_not_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    watched = WatchedFile(path)
    watched.look()
    assert [watched.changed(), watched.changed()] == [None, None]
    path.write_text("one and")
    assert watched.changed() is None
    path.write_text("one and two")
    assert watched.changed() is None
    assert [watched.changed(), watched.changed()] == ["one and two", None]
    watched.again()
    assert [watched.changed(), watched.changed()] == ["one and two", None]


def test_one_that_is_gone_or_no_text_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    watched = WatchedFile(path)
    watched.look()
    path.unlink()
    watched.changed()
    with pytest.raises(ConfigError, match="no such file; the last good configuration stays"):
        watched.changed()
    assert watched.changed() is None
    path.write_bytes(b"\xff\xfe")
    watched.changed()
    with pytest.raises(ConfigError, match="cannot be read"):
        watched.changed()
