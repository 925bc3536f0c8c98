"""The house holds: arrows of import point as designed, and the service never loads torch."""

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]


def test_imports_follow_the_arrows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("service.app", ["torch", "polars", "training", "export"]),
        ("export.features", ["torch", "fastapi", "service"]),
        ("training.datasets.prepare", ["torch", "redis"]),
        ("training.describe.command", ["torch", "redis"]),
        ("loadtest.locustfile", ["torch", "service", "training"]),
    ],
)
def test_a_part_loads_only_what_it_needs(module: str, unwanted: list[str]) -> None:
    code = f"import sys, {module}; print(*[name for name in {unwanted} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
