"""The table of runs, on the CPU."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contract.bundle import read_bundle
from service.engine_table import REQUEST, candidates, lines, milliseconds, variants
from tests.service.bundles import write_tiny_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(root, "dtn", 1)
    return root / "dtn" / "v1"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.engine_table", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_the_command_prints_a_line_for_every_number_of_candidates(folder: Path) -> None:
    done = command("--bundle", str(folder), "--device", "cpu", "--largest", "200", "--seconds", "0.01")
    assert (done.returncode, done.stderr) == (0, "")
    head, unit, columns, *rows = done.stdout.strip().splitlines()
    assert head == "dtn@v1, fp32, cpu, pageable host memory"
    assert "milliseconds" in unit
    assert re.split(r"  +", columns) == ["candidates", "split, known items", "split, new items", "whole"]
    assert [int(row.split()[0]) for row in rows] == [64, 128, 200]
    for row in rows:
        cells = re.findall(r"([\d.]+) \((\d+)\)", row)
        assert len(cells) == 3
        for milliseconds_, thousands in cells:
            assert abs(int(row.split()[0]) / float(milliseconds_) / int(thousands) - 1) < 0.1


def test_candidates_are_of_requests_of_the_usual_size(folder: Path) -> None:
    inputs = candidates(read_bundle(folder), 2 * REQUEST + 1)
    assert np.bincount(inputs.request_of_item).tolist() == [REQUEST, REQUEST, 1]
    assert len(inputs.request_ids) == 3
    assert len(np.unique(inputs.item_keys)) == len(inputs)
    assert inputs.item_keys.all()


def test_known_items_are_computed_once_and_new_ones_each_time(folder: Path) -> None:
    bundle = read_bundle(folder)
    known, new, whole = variants(bundle, "cpu", 64)
    table = known.engine.items
    assert table is not None
    assert new.engine is known.engine
    assert whole.engine.items is None
    inputs = candidates(bundle, 64)
    milliseconds([known], inputs, 0)
    before = table.ring.misses
    milliseconds([known], inputs, 0)
    assert table.ring.misses == before
    milliseconds([new], inputs, 0)
    assert table.ring.misses == before + 64


def test_lines_come_as_they_are_measured(folder: Path) -> None:
    first = next(lines(read_bundle(folder), "cpu", 64, 1000))
    assert first.startswith("dtn@v1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bundle", "nowhere", "--device", "cpu"), "nowhere/manifest.json: no such file"),
        (("--bundle", "{folder}", "--largest", "0"), "--largest 0: a run has at least one candidate"),
        (("--bundle", "{folder}", "--device", "cuda"), "no CUDA"),
    ],
)
def test_what_cannot_be_measured_is_one_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    done = command(*(argument.format(folder=folder) for argument in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
