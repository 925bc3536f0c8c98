"""One of several workers speaks for all, until it ends."""

import pytest

from service.voice import Voice


def test_one_of_several_workers_speaks(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = Voice(2), Voice(2)
    for voice in (first, second, first):
        voice.warn("x")
    assert capfd.readouterr().err == "warning: x\n" * 2
    first.close()
    second.warn("y")
    assert capfd.readouterr().err == "warning: y\n"
    second.close()


def test_processes_on_their_own_all_speak(capfd: pytest.CaptureFixture[str]) -> None:
    for voice in (Voice(1), Voice(1)):
        voice.warn("x")
    assert capfd.readouterr().err == "warning: x\n" * 2
