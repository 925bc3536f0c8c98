"""Which configuration a process starts with."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from contract.errors import ConfigError
from service.experiments.change.choice import choose, keep
from service.experiments.change.editing import renumbered
from service.experiments.change.versions import Head, Version
from tests.service.conftest import EXPERIMENTS

EMPTY = Head(None, 0, None)


def text(version: int) -> str:
    return renumbered(EXPERIMENTS, version)


def redis_with(version: int, live: str | None = None) -> Head:
    last = Version(version=version, time=datetime.now(UTC), author="x", text=text(version))
    return Head((live or text(version)).encode(), 1, last)


def chosen(folder: Path, file: int, head: Head | None, kept: int | None = None) -> tuple[int, str, str | None]:
    """Version, origin and what is said."""
    path = folder / "f.yaml"
    path.write_text(text(file))
    if kept is not None:
        keep(folder / "state", text(kept))
    choice = choose(path, folder / "state", head)
    return choice.source.config.version, choice.source.origin.replace(str(folder), ""), choice.said


def test_the_file_where_nothing_is_higher(tmp_path: Path) -> None:
    for head, kept in ((EMPTY, None), (None, None), (redis_with(6), None), (redis_with(7), 5), (None, 7)):
        assert chosen(tmp_path, 7, head, kept) == (7, "/f.yaml", None)


def test_the_highest_of_redis_and_what_was_kept(tmp_path: Path) -> None:
    version, origin, said = chosen(tmp_path, 7, redis_with(9), 8)
    assert (version, origin) == (9, "version 9 of Redis")
    assert said == f"version 9 of Redis is in force; {tmp_path}/f.yaml has version 7, which is lower"
    assert chosen(tmp_path, 7, redis_with(8), 9)[:2] == (9, "version 9, kept in /state/experiments.yaml,")
    assert chosen(tmp_path, 7, None, 9)[0] == 9


def test_a_live_text_that_is_wrong_gives_way_to_the_last_of_the_history(tmp_path: Path) -> None:
    assert chosen(tmp_path, 7, redis_with(9, "not a configuration"))[:2] == (9, "version 9 of Redis")
    assert chosen(tmp_path, 7, Head(text(9).encode(), 0, None))[0] == 9  # set by hand, where there is no history
    assert chosen(tmp_path, 7, Head(b"nothing", 0, None))[0] == 7


def test_a_file_that_must_not_replace_what_was_in_force_is_refused(tmp_path: Path) -> None:
    file, state = tmp_path / "f.yaml", tmp_path / "state"
    for content, reason in (
        (text(9).replace("u-qa-1", "u-qa-2"), "version 9 is in force with another content; raise `version` to 10"),
        (text(10).replace("dtn-vs-ple.1", "other"), "phase"),
        ("nothing", "f.yaml:1: "),
    ):
        file.write_text(content)
        choice = choose(file, state, redis_with(9))
        assert choice.source.config.version == 9
        assert reason in str(choice.refused)
        assert choice.said == f"version 9 of Redis is in force: {choice.refused}"


def test_nothing_good_anywhere_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "experiments.yaml").write_text("damaged")
    with pytest.raises(ConfigError, match="no such file"):
        choose(tmp_path / "f.yaml", tmp_path / "state", Head(b"nothing", 0, None))
    with pytest.raises(ConfigError, match="no such file"):  # whatever else there is: the setting is wrong
        choose(tmp_path / "f.yaml", tmp_path / "state", redis_with(9))
