"""What the command says to a stranger."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "feast"], "no peer 'feast'; there are fastapi, fastapi-tuned, litserve"),
        (["install", "nobody"], "no peer 'nobody'; there are fastapi"),
        (["serve", "fastapi", "--processes", "0"], "--processes 0: give 1 or more"),
        (["serve", "fastapi", "--bundles", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "loadtest.peers", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
