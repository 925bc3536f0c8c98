"""Rows from disk: each once an epoch, in an order of seed and epoch, joined with stored rows, in bounded memory."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from contract.errors import DataError
from tests.training import tiny
from training.batches import Batch
from training.config import read_recipe
from training.datasets.prepared import ITEM, USER, Prepared
from training.distributed import Place
from training.fit import fit
from training.models import build_model
from training.stream import Stream, open_rows

CPU = torch.device("cpu")
ROWS = 400


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Data whose users and items are stored apart, and whose numeric `age` is the row's number."""
    path = tiny.prepare(tmp_path_factory.mktemp("stream") / "data", tiny.schema(), rows=ROWS)
    random = np.random.default_rng(0)
    for file in (path / "interactions").glob("*/*.parquet"):
        moment = pl.read_parquet(file).with_columns(pl.Series("age", np.arange(ROWS, dtype=np.float32)))
        links = {USER: random.integers(0, 9, ROWS).astype(np.int32), ITEM: random.integers(0, 7, ROWS).astype(np.int32)}
        moment.drop("likes", "item").with_columns(**{k: pl.Series(v) for k, v in links.items()}).write_parquet(file)
    likes = pl.Series("likes", random.integers(0, 7, (9, 3)).astype(np.int32), dtype=pl.Array(pl.Int32, 3))
    write(path / "users", pl.DataFrame([likes]))
    write(path / "items", pl.DataFrame({"item": random.integers(0, 11, 7).astype(np.int32)}))
    return Prepared.open(path)


def write(folder: Path, table: pl.DataFrame) -> None:
    folder.mkdir()
    table.write_parquet(folder / "part-0.parquet")


def stream(data: Prepared, shuffle_rows: int = 100, block_rows: int = 30) -> Stream:
    return Stream(data, "train", shuffle_rows, block_rows)


def numbers(batches: list[Batch]) -> list[int]:
    """Row numbers, in the order met."""
    return [int(number) for batch in batches for number in batch.request_dense[:, 0]]


def test_an_epoch_meets_every_row_once_and_its_columns_stay_together(data: Prepared) -> None:
    batches = list(stream(data).epoch(32, seed=1, epoch=0))
    assert [len(batch) for batch in batches] == [32] * 12 + [16]
    met = numbers(batches)
    assert sorted(met) == list(range(ROWS))
    memory = Batch.of(data.matrices("train"), data.schema, CPU)
    for name in ("request_ids", "request_dense", "item_ids", "item_dense", "labels", "counted", "users"):
        streamed = torch.cat([getattr(batch, name) for batch in batches])
        assert torch.equal(streamed, getattr(memory, name)[met]), name


def test_order_is_of_seed_and_epoch_and_mixes_blocks(data: Prepared) -> None:
    def met(seed: int, epoch: int) -> list[int]:
        return numbers(list(stream(data).epoch(32, seed, epoch)))

    assert met(1, 0) == met(1, 0)
    assert met(1, 0) != met(1, 1) != met(2, 1) != met(2, 0)
    first = met(1, 0)[:90]  # a pool of three blocks
    assert len({row // 30 for row in first}) == 3
    assert len({row // 30 for row in first[:20]}) == 3


@pytest.mark.parametrize("skip", [1, 2, 3, 5, 12, 13])
def test_an_epoch_is_joined_in_its_middle(skip: int, data: Prepared) -> None:
    whole = numbers(list(stream(data).epoch(32, 1, 0)))
    assert numbers(list(stream(data).epoch(32, 1, 0, skip))) == whole[32 * skip :]


def test_batches_larger_than_pools(data: Prepared) -> None:
    batches = list(stream(data, shuffle_rows=30).epoch(150, 1, 0))
    assert [len(batch) for batch in batches] == [150, 150, 100]
    assert sorted(numbers(batches)) == list(range(ROWS))


def test_rows_in_order_and_part_of_them(data: Prepared) -> None:
    assert numbers(list(stream(data).in_order(64))) == list(range(ROWS))
    assert numbers(list(stream(data).in_order(64, 45, 110))) == list(range(45, 110))


def test_labels_and_users_are_those_of_memory(data: Prepared) -> None:
    memory, streamed = Batch.of(data.matrices("train"), data.schema, CPU), stream(data)
    assert torch.equal(streamed.labels, memory.labels)
    assert torch.equal(streamed.counted, memory.counted)
    assert memory.users is not None
    assert streamed.users is not None
    assert torch.equal(streamed.users, memory.users)


def test_a_sample_comes_from_all_over_the_split(data: Prepared) -> None:
    rows = numbers([stream(data).sample(90)])
    assert len(rows) == 90
    assert len({row // 100 for row in rows}) >= 3
    assert sorted(numbers([stream(data).sample(10_000)])) == list(range(ROWS))


def test_what_is_larger_than_memory_rows_is_streamed(data: Prepared) -> None:
    recipe = read_recipe("ple", assignments=[f"memory_rows={ROWS}"])
    assert isinstance(open_rows(data, "train", recipe, CPU), Batch)
    assert isinstance(open_rows(data, "train", recipe.model_copy(update={"memory_rows": ROWS - 1}), CPU), Stream)


def test_parts_of_unequal_rows_are_one_split(data: Prepared, tmp_path: Path) -> None:
    parts = cut(data, tmp_path / "parts", (130, 1, 0, 170, 99))
    assert len(list((parts.path / "interactions" / "train").iterdir())) == 5
    one, many = (Batch.of(each.matrices("train"), each.schema, CPU) for each in (data, parts))
    for name in ("request_ids", "request_dense", "item_ids", "item_dense", "labels", "counted", "users"):
        assert torch.equal(getattr(one, name), getattr(many, name)), name
    streamed = stream(parts)
    assert len(streamed) == ROWS
    assert torch.equal(streamed.labels, one.labels)
    assert numbers(list(streamed.in_order(64))) == list(range(ROWS))
    batches = list(streamed.epoch(32, 1, 0))
    assert [len(batch) for batch in batches] == [32] * 12 + [16]
    met = numbers(batches)
    assert sorted(met) == list(range(ROWS))
    assert torch.equal(torch.cat([batch.labels for batch in batches]), one.labels[met])


def cut(data: Prepared, path: Path, rows: Sequence[int]) -> Prepared:
    """A copy whose training split is cut into parts of these rows."""
    assert sum(rows) == ROWS
    shutil.copytree(data.path, path)
    whole = pl.read_parquet(path / "interactions" / "train" / "part-00000.parquet")
    for part, end in enumerate(accumulate(rows)):
        whole[end - rows[part] : end].write_parquet(
            path / "interactions" / "train" / f"part-{part:05}.parquet", row_group_size=60
        )
    return Prepared.open(path)


def test_no_block_crosses_two_files_or_row_groups(data: Prepared, tmp_path: Path) -> None:
    parts = cut(data, tmp_path / "parts", (130, 1, 0, 170, 99))
    alone = [len(batch) for batch in stream(parts, block_rows=60).in_order(1000)]
    assert alone == [60, 60, 10, 1, 60, 60, 50, 60, 39]
    groups = [pq.read_metadata(part) for part in parts.parts("train")]
    assert alone == [of.row_group(g).num_rows for of in groups for g in range(of.num_row_groups) if of.num_rows]


def test_pools_fill_up_with_small_blocks(data: Prepared, tmp_path: Path) -> None:
    parts = cut(data, tmp_path / "parts", (10,) * 40)
    met = numbers(list(stream(parts, shuffle_rows=100, block_rows=60).epoch(32, 1, 0)))
    assert len({row // 10 for row in met[:100]}) == 10
    assert len({row // 10 for row in met[:30]}) > 5


@pytest.mark.parametrize("rows", [90, 250])
def test_a_sample_of_small_parts_has_the_rows_asked_for(rows: int, data: Prepared, tmp_path: Path) -> None:
    parts = cut(data, tmp_path / "parts", (5,) * 40 + (200,))
    met = numbers([stream(parts, block_rows=60).sample(rows)])
    assert len(met) == len(set(met)) == rows
    assert min(met) == 0
    assert max(met) >= 200


def test_processes_take_all_rows_between_them_in_as_many_steps(
    data: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = cut(data, tmp_path / "parts", (70, 70, 70, 70, 70, 50))  # of each but the last: blocks of 60 and of 10
    met: list[int] = []
    for rank in (0, 1):
        monkeypatch.setattr("training.stream.place", lambda rank=rank: Place(rank, 2))
        streamed = stream(parts, block_rows=60)
        batches = list(streamed.epoch(20, 1, 0))
        assert len(batches) == streamed.steps(20) <= 23  # 20, where the rows were divided evenly
        met += [row for batch in batches if batch.counted.any() for row in numbers([batch])]
        skipped = list(streamed.epoch(20, 1, 0, skip=7))
        assert numbers(skipped) == numbers(batches[7:])
    assert sorted(met) == list(range(ROWS))


def test_a_damaged_or_absent_part_is_named(data: Prepared, tmp_path: Path) -> None:
    parts = cut(data, tmp_path / "parts", (130, 100, 170))
    first, second, third = parts.parts("train")
    whole = second.read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        second.write_bytes(content)
        with pytest.raises(DataError, match=r"part-00001\.parquet: cannot be read .*prepare the data again"):
            list(stream(parts).in_order(64))
    second.unlink()
    with pytest.raises(DataError, match=r"train: 300 rows where prepared\.json has 400"):
        list(stream(parts).in_order(64))
    first.unlink()
    third.unlink()
    with pytest.raises(DataError, match=r"interactions/train: no part-\*\.parquet"):
        list(stream(parts).in_order(64))


def test_training_reads_no_label_of_a_streamed_split_but_by_batches(data: Prepared) -> None:
    recipe = read_recipe("ple", assignments=["memory_rows=0", "epochs=1", "model.embedding=4"])
    torch.manual_seed(0)
    train = stream(data)
    validation = Batch.of(data.matrices("validation"), data.schema, CPU)
    fit(build_model("ple", data.schema, recipe.model), train, validation, recipe, 0, Console(quiet=True))
    assert "_targets" not in vars(train)
    assert len(train.labels) == ROWS  # as a split that is judged does
    assert "_targets" in vars(train)


PEAK = """
import sys
from pathlib import Path
from training.datasets.prepared import Prepared
from training.stream import Stream
stream = Stream(Prepared.open(Path(sys.argv[1])), "train", 40_000, 20_000)
for batch in stream.epoch(1000, 0, 0):
    pass
lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(int(lines["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks, file = [], Path()
    for rows in (200_000, 2_000_000):  # 12 MB and 120 MB
        path = tmp_path / str(rows)
        tiny.prepare(path, tiny.schema(), rows=20_000)
        part = pl.read_parquet(path / "interactions" / "train" / "part-00000.parquet")
        whole = pl.concat([part] * (rows // 20_000), rechunk=True)
        file = path / "interactions" / "train" / "part-00000.parquet"
        whole.write_parquet(file, row_group_size=20_000, compression="uncompressed")
        described = (path / "prepared.json").read_text().replace('"train":20000', f'"train":{rows}')
        (path / "prepared.json").write_text(described)
        ended = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(ended.stdout))
    assert file.stat().st_size > 60e6
    assert peaks[1] < peaks[0] + 30, peaks
