"""How commands end: 0, their own status, one line and 2, or 130."""

import pytest

from contract.command import run
from contract.errors import DataError


def test_success_and_a_status_of_its_own() -> None:
    assert run(lambda: None) == 0
    assert run(lambda: 1) == 1


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise DataError("a.csv, row 3:\n  not a number")

    assert run(fail) == 2
    assert capsys.readouterr().err == "error: a.csv, row 3: not a number\n"


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert run(interrupted) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_of_ours_is_not_hidden() -> None:
    def defect() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(defect)
