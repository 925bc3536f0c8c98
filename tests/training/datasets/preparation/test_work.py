"""Killed, interrupted or out of disk at any place: the next run goes on, and writes what an undisturbed one would."""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from tests.training.datasets.preparation.logs import (
    READERS,
    WRITERS,
    command,
    cut_chunks,
    digests,
    prepared,
    write_shop_files,
)
from tests.training.datasets.shop import interactions

ROWS = 60  # of a chunk, in this process and in others
FILES = 6


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_chunks(monkeypatch, ROWS, (*READERS, *WRITERS))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_shop_files(tmp_path / "raw", FILES)


def ended(raw: Path, out: Path, place: str, how: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
    """Run `prepare` until a file that `place` matches is in the work folder, and end it; its status and last words."""
    process = subprocess.Popen(command(raw, out, rows=ROWS), stderr=subprocess.PIPE, text=True)
    folder = out.with_name(f"{out.name}.unfinished")
    while process.poll() is None and not any(folder.glob(place)):
        time.sleep(0.0005)
    process.send_signal(how)
    return process.wait(), process.communicate()[1]


def coded(out: Path) -> dict[Path, int]:
    """When each chunk was coded."""
    files = out.with_name(f"{out.name}.unfinished").glob("coded/*/[0-9]*/facts.json")
    return {file: file.stat().st_mtime_ns for file in files}


def times_until_the_end(raw: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """Run until the work folder would go; the result is there."""
    with monkeypatch.context() as kept:
        kept.setattr("training.datasets.pipeline.shutil.rmtree", lambda *_, **__: None)
        prepared(raw, out)
    found = coded(out)
    shutil.rmtree(out.with_name(f"{out.name}.unfinished"))
    return found


@pytest.mark.parametrize(
    "place",
    [
        "coded/interactions-00002-*/00000",
        pytest.param("coded/users-*/end", marks=pytest.mark.slow),
        pytest.param("run-*/placed/*/facts.json", marks=pytest.mark.slow),
        pytest.param("run-*/result/dictionaries/*.npz", marks=pytest.mark.slow),
        "run-*/result/interactions/train/.part-*",
        "run-*/pieces/interactions/00003.json",
        pytest.param("run-*/result/users/*", marks=pytest.mark.slow),
        pytest.param("run-*/result/prepared.json", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    expected = digests(prepared(raw, tmp_path / "undisturbed").path)
    status, _ = ended(raw, tmp_path / "out", place)
    if (tmp_path / "out").exists():  # it was faster
        assert place.endswith(("users/*", "prepared.json"))
        assert digests(tmp_path / "out") == expected
        return
    assert status == -signal.SIGKILL
    before = coded(tmp_path / "out")
    assert before
    after = times_until_the_end(raw, tmp_path / "out", monkeypatch)
    assert before.items() <= after.items()
    assert digests(tmp_path / "out") == expected


def test_a_file_that_changed_meanwhile_is_read_again(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(raw, tmp_path / "out", "run-*/placed/*/facts.json")
    before = coded(tmp_path / "out")
    changed = raw / "interactions" / "part-01.csv"
    changed.write_text(changed.read_text().replace("d1", "d7"))
    after = times_until_the_end(raw, tmp_path / "out", monkeypatch)
    kept = {file: moment for file, moment in before.items() if "interactions-00001" not in str(file)}
    assert kept.items() <= after.items()
    anew = [file for file in after.keys() - before.keys() if "tail" not in str(file)]
    assert len(anew) == 2  # the chunks of that file
    assert digests(tmp_path / "out") == digests(prepared(raw, tmp_path / "scratch").path)


def test_a_file_with_a_new_column_of_truth_is_known_to_all(tmp_path: Path, raw: Path) -> None:
    """Chunks of Parquet files coded before have no such column."""
    for number, file in enumerate(sorted((raw / "interactions").iterdir())):
        interactions()[number * 67 : number * 67 + 67].write_parquet(file.with_suffix(".parquet"))
        file.unlink()
    ended(raw, tmp_path / "out", "run-*/placed/*/facts.json")
    last = raw / "interactions" / "part-05.parquet"
    frame = interactions()[335:]
    frame.with_columns(frame["click"].cast(float).alias("truth:ctr")).write_parquet(last)
    assert digests(prepared(raw, tmp_path / "out").path) == digests(prepared(raw, tmp_path / "scratch").path)


def test_ctrl_c_is_one_word(tmp_path: Path, raw: Path) -> None:
    status, told = ended(raw, tmp_path / "out", "coded/interactions-00003-*/00000", signal.SIGINT)
    assert status == 130
    assert told.splitlines()[-1] == "interrupted"
    assert "Traceback" not in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.unfinished", "raw"]
    expected = digests(prepared(raw, tmp_path / "undisturbed").path)
    assert digests(prepared(raw, tmp_path / "out").path) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw", "undisturbed"]


def test_the_output_is_whole_at_any_moment(tmp_path: Path, raw: Path) -> None:
    out = tmp_path / "out"
    whole = {frozenset(digests(prepared(raw, out).path).items())}
    names = set(digests(out))
    changed = raw / "interactions" / "part-05.csv"
    changed.write_text(changed.read_text().replace("d1", "d7"))
    process = subprocess.Popen(command(raw, out, rows=ROWS), stderr=subprocess.PIPE)
    while process.poll() is None:
        try:
            inode = out.stat().st_ino
            seen = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
            same = out.stat().st_ino == inode
        except FileNotFoundError:
            continue  # between the old one and the new
        assert not same or seen == names
        time.sleep(0.002)
    process.communicate()
    whole.add(frozenset(digests(out).items()))
    assert process.returncode == 0
    assert len(whole) == 2


def test_a_full_disk_is_one_line(tmp_path: Path, raw: Path) -> None:
    """A limit of the size of files stands for it; each run gets further."""
    names = pl.Series([hashlib.sha256(bytes([row])).hexdigest() for row in range(67)])
    interactions()[:67].with_columns(device=names).write_csv(raw / "interactions" / "part-09.csv")
    undisturbed = prepared(raw, tmp_path / "undisturbed").path
    done: dict[Path, int] = {}
    for limit in (100, 3_800):
        run = subprocess.run(
            command(raw, tmp_path / "out", rows=ROWS),
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),  # type: ignore[misc]
        )
        told = "cannot be written: File too large; the same command goes on from what is done"
        assert (run.returncode, run.stderr.splitlines()[2:]) == (2, [f"error: {tmp_path}/out: {told}"])
        assert done.items() <= coded(tmp_path / "out").items()
        done = coded(tmp_path / "out")
    assert done
    assert digests(prepared(raw, tmp_path / "out").path) == digests(undisturbed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, raw: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    run = subprocess.run(command(raw, tmp_path / "closed" / "out"), capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"error: {tmp_path}/closed/out: cannot be written: Permission denied" in run.stderr


def test_a_file_in_the_work_folders_place_is_named(tmp_path: Path, raw: Path) -> None:
    (tmp_path / "out.unfinished").touch()
    run = subprocess.run(command(raw, tmp_path / "out"), capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"error: {tmp_path}/out: cannot be written: Not a directory" in run.stderr
