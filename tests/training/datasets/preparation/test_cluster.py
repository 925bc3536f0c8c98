"""Several processes by Ray: the bytes of one, also when a worker dies; errors and order as in one process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from contract.errors import ConfigError, DataError
from tests.training.datasets.preparation.logs import digests, prepared, write_shop_files
from training.datasets.partitions import Chunk, Partition, Table
from training.datasets.pipeline import Options, write_prepared
from training.datasets.preparation.mapping import Mapper, mapper, one_by_one
from training.datasets.table import read_tables


def counted(unit: int) -> Iterator[int]:
    """As many results as the unit says."""
    yield from range(unit)


def refused(unit: int) -> Iterator[int]:
    if unit == 2:
        raise DataError("file, row 2: bad")
    yield unit


def no_space(unit: int) -> Iterator[int]:
    yield unit
    raise OSError(28, "No space left on device")


@dataclass(frozen=True)
class Fatal:
    """A partition that kills whoever reads it first, in the middle."""

    partition: Partition
    mark: Path

    @property
    def identity(self) -> str:
        return self.partition.identity

    def chunks(self) -> Iterator[Chunk]:
        for chunk in self.partition.chunks():
            yield chunk
            if not self.mark.exists():
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)


def test_one_process_keeps_the_order() -> None:
    assert list(one_by_one(counted, [2, 0, 3])) == [0, 1, 0, 1, 2]
    with mapper(0, None) as mapped:
        assert mapped is one_by_one
        found = mapped(refused, [1, 2, 3])
        assert next(found) == 1
        with pytest.raises(DataError, match="row 2"):
            next(found)


def test_without_ray_one_line_says_what_to_install(tmp_path: Path) -> None:
    raw, out = write_shop_files(tmp_path / "raw", 2), tmp_path / "out"
    code = (
        "import sys; sys.modules['ray'] = None; from contract.command import run; from training.__main__ import main; "
        f"sys.exit(run(lambda: main(['prepare', 'table', '--raw', '{raw}', '--out', '{out}', '--workers', '2'])))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: --workers and --cluster need Ray (")
    assert "pip install -e '.[distributed]'" in line
    assert "Traceback" not in run.stderr


@pytest.fixture(scope="module")
def workers() -> Iterator[Mapper]:
    pytest.importorskip("ray")
    with mapper(2, None) as mapped:
        yield mapped


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_workers_write_the_bytes_of_one_process(tmp_path: Path, workers: Mapper) -> None:
    raw = write_shop_files(tmp_path / "raw", 5)
    one, two = prepared(raw, tmp_path / "one"), prepared(raw, tmp_path / "two", Options(mapper=workers))
    assert digests(two.path) == digests(one.path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_workers_keep_the_order_and_hand_on_errors(tmp_path: Path, workers: Mapper) -> None:
    assert list(workers(counted, [2, 0, 3])) == [0, 1, 0, 1, 2]
    assert list(workers(counted, [])) == []
    with pytest.raises(DataError, match=r"^file, row 2: bad$"):
        list(workers(refused, [1, 2, 3]))
    with pytest.raises(OSError, match="No space left"):
        list(workers(no_space, [1]))
    raw = write_shop_files(tmp_path / "raw", 3)
    file = raw / "interactions" / "part-01.csv"
    file.write_text(file.read_text().replace("d1", "d1,1", 1))
    told = []
    for mapped in (one_by_one, workers):
        with pytest.raises(DataError) as caught:
            prepared(raw, tmp_path / "out", Options(mapper=mapped))
        told.append(str(caught.value))
    assert told[0] == told[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_dies_is_replaced(tmp_path: Path, workers: Mapper) -> None:
    folder = write_shop_files(tmp_path / "raw", 3)
    raw, one = read_tables(folder), prepared(folder, tmp_path / "one")
    assert isinstance(raw.interactions, Table)
    first, *others = raw.interactions.partitions
    table = replace(raw.interactions, partitions=[first, Fatal(others[0], tmp_path / "mark"), *others[1:]])
    write_prepared(replace(raw, interactions=table), tmp_path / "two", Options(mapper=workers))
    assert (tmp_path / "mark").exists()
    assert digests(tmp_path / "two") == digests(one.path)


def test_an_unreachable_cluster_is_one_line() -> None:
    pytest.importorskip("ray")
    told = r"--cluster ray://127\.0\.0\.1:9: cannot be reached \(.*refused\); start Ray there"
    with pytest.raises(ConfigError, match=told), mapper(0, "ray://127.0.0.1:9"):
        raise AssertionError
