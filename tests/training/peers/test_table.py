"""The table that a person reads."""

import io

from rich.console import Console

from training.peers.runs import Outcome
from training.peers.table import outcome_line, outcomes_table

DONE = [
    Outcome("torch_rechub", "ple", 256, seed, auc={"income": auc, "cvr": None}, rows_per_second=rate, parameters=1234,
            versions={"torch-rechub": "0.9.0"}, note="as it comes")
    for seed, (auc, rate) in enumerate([(0.95, 1000.0), (0.96, 3000.0)])
]  # fmt: skip
FAILED = Outcome("torch_rechub", "ple", 256, 2, error="ValueError: [no]")


def shown(outcomes: list[Outcome]) -> str:
    console = Console(file=io.StringIO(), width=300)
    console.print(outcomes_table(outcomes))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_seeds_share_a_line_with_their_spread() -> None:
    line = shown(DONE).splitlines()[1]
    for cell in ("0.9.0", "0.9550 ± 0.0071", "–", "2,000", "1,234", "as it comes"):
        assert cell in line


def test_a_failed_seed_is_told_beside_those_that_were_done() -> None:
    line = shown([FAILED, *DONE]).splitlines()[1]
    assert "0.9550 ± 0.0071" in line
    assert "seed 2 FAILED: ValueError: [no]" in line


def test_a_library_that_failed_altogether_has_a_line() -> None:
    line = shown([FAILED]).splitlines()[1]
    assert "torch_rechub" in line
    assert "FAILED: ValueError: [no]" in line


def test_a_run_in_one_line() -> None:
    assert outcome_line(DONE[0]) == "torch_rechub ple, batch 256, seed 0: income 0.9500, cvr –, 1,000 rows/s"
    assert outcome_line(FAILED) == "torch_rechub ple, batch 256, seed 2: FAILED: ValueError: [no]"
