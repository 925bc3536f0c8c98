"""The benchmark's table, and what it says where it cannot start."""

import subprocess
import sys
from pathlib import Path

from loadtest.bench import Measured, table
from loadtest.floors import MODEL, WHOLE
from loadtest.http_load import Figures

ROOT = Path(__file__).parents[2]


def test_table_shows_medians_and_shares_of_the_floors() -> None:
    rates = {MODEL: (1_000, 900, 1_100), WHOLE: (500, 500, 500), "/score": (250, 10, 300)}
    measured: Measured = {
        (200, what): [Figures(rate, p50, 9.0) for rate, p50 in zip(rounds, (1.0, 3.0, 2.0), strict=True)]
        for what, rounds in rates.items()
    }
    service = table(measured).splitlines()[-1]
    cells = [cell.strip() for cell in service.strip("|").split("|")]
    assert cells == ["200", "/score", "250", "50,000", "2.00", "9.00", "0.25", "0.50", "116%"]


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest.bench", "--bundles", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no bundle of model 'ple'" in done.stderr
