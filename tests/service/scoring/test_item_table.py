"""The host's table of items' columns against a dict: each run reads its own items' columns, and rows are bounded."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from service.scoring.inputs import Inputs
from service.scoring.item_table import Columns, ItemTable
from service.scoring.row_index import Keys
from tests.service.scoring.test_row_index import keys

WIDTH = 3
Content = NDArray[np.int64]


def asking(wanted: Keys) -> Inputs:
    """Candidates of these keys; nothing else of them is read here."""
    rows = len(wanted)
    ids, dense = np.zeros((rows, 0), np.int32), np.zeros((rows, 0), np.float32)
    return Inputs(ids[:1], dense[:1], ids, dense, np.zeros(rows, np.int32), wanted)


def columns_of(contents: Content) -> Columns:
    """What an item of this content computes to; exact in float32."""
    parts = [contents >> 24, contents & 0xFFF, (contents >> 12) & 0xFFF]
    return np.column_stack(parts).astype(np.float32)


class Reader:
    """Runs against a table, counting what it makes them compute."""

    def __init__(self, capacity: int) -> None:
        self.table = ItemTable(WIDTH, capacity)
        self.computed = 0

    def run(self, wanted: Keys, contents: Content | None = None, during: Callable[[], None] | None = None) -> None:
        """One run: the columns of each candidate are its own, also after what happens `during` it."""
        contents = wanted if contents is None else contents

        def compute(missing: NDArray[np.int64]) -> Columns:
            self.computed += len(missing)
            return columns_of(contents[missing])

        columns, rows, run = self.table.take(asking(wanted), compute)
        try:
            if during is not None:
                during()
            np.testing.assert_array_equal(columns[rows], columns_of(contents))
            assert rows.dtype == np.int32
        finally:
            self.table.done(run)


def slots(first: int, last: int, counter: int = 1) -> Keys:
    return keys(*((counter, slot) for slot in range(first, last)))


def test_what_was_computed_once_is_read_again() -> None:
    reader = Reader(100)
    reader.run(slots(0, 50))
    reader.run(slots(10, 60)[::-1].copy())
    assert reader.computed == 60
    assert (reader.table.hits, reader.table.misses) == (40, 60)


def test_an_item_twice_in_a_run_takes_one_row() -> None:
    reader = Reader(3)
    reader.run(keys((1, 5), (1, 5), (1, 6), (1, 5)))
    reader.run(slots(5, 8))  # 5 and 6 are there, and there is room for one more
    computed = reader.computed
    reader.run(slots(5, 8))
    assert reader.computed == computed


@pytest.mark.parametrize("capacity", [2, 100])
def test_two_contents_of_one_item_in_a_run_are_both_right(capacity: int) -> None:
    reader = Reader(capacity)
    for _ in range(4):
        reader.run(keys((1, 7), (2, 7), (1, 7), (1, 8), (2, 7)))


def test_a_changed_item_is_computed_again() -> None:
    reader = Reader(10)
    for counter in (1, 2, 3):
        reader.run(slots(0, 5, counter))
        assert reader.computed == 5 * counter


def test_candidates_without_a_key_are_computed_each_time_and_not_mixed_up() -> None:
    reader = Reader(10)
    reader.run(slots(1, 4))
    wanted = np.array([0, *slots(1, 4), 0], np.int64)
    for turn in range(3):
        contents = np.where(wanted == 0, turn * 7 + np.arange(5), wanted)
        reader.run(wanted, contents)
    assert reader.computed == 3 + 3 * 2


def test_without_a_table_all_is_computed() -> None:
    reader = Reader(0)
    for _ in range(2):
        reader.run(slots(0, 20))
    assert reader.computed == 40
    assert reader.table.columns.shape == (0, WIDTH)


def test_a_request_larger_than_the_table_is_right_and_leaves_it_usable() -> None:
    reader = Reader(8)
    reader.run(slots(0, 20))
    reader.run(slots(100, 108))
    computed = reader.computed
    reader.run(slots(100, 108))
    assert reader.computed == computed


def test_no_items_are_no_work() -> None:
    reader = Reader(8)
    reader.run(np.zeros(0, np.int64))
    assert (reader.computed, reader.table.hits, reader.table.misses) == (0, 0, 0)


def test_what_was_used_longest_ago_is_evicted_first() -> None:
    reader = Reader(32)
    reader.run(slots(0, 16))
    reader.run(slots(16, 32))
    reader.run(slots(0, 16))  # used again
    reader.run(slots(32, 40))
    computed = reader.computed
    reader.run(slots(0, 16))
    assert reader.computed == computed


def test_a_running_run_keeps_its_rows() -> None:
    reader = Reader(16)
    reader.run(slots(0, 16))

    def others() -> None:
        for first in range(100, 200, 8):
            reader.run(slots(first, first + 8))

    reader.run(slots(0, 12), during=others)


def test_an_older_run_does_not_give_up_what_a_newer_one_reads() -> None:
    reader = Reader(16)
    table, wanted = reader.table, slots(0, 8)
    reader.run(wanted)
    newer: list[tuple[Columns, NDArray[np.int32], int]] = []
    mixed = np.append(wanted, slots(50, 51))

    def meanwhile(missing: NDArray[np.int64]) -> Columns:
        newer.append(table.take(asking(wanted), lambda missing: columns_of(wanted[missing])))
        return columns_of(mixed[missing])

    _, _, older = table.take(asking(mixed), meanwhile)
    table.done(older)
    for first in range(100, 200, 8):
        reader.run(slots(first, first + 8))
    ((columns, rows, _),) = newer
    np.testing.assert_array_equal(columns[rows], columns_of(wanted))


def test_a_run_that_fails_holds_no_rows() -> None:
    reader = Reader(8)

    def fail(missing: NDArray[np.int64]) -> Columns:
        raise OSError("no device")

    with pytest.raises(OSError, match="no device"):
        reader.table.take(asking(slots(0, 4)), fail)
    reader.run(slots(10, 18))
    reader.run(slots(20, 28))  # needs every row of the run before
    computed = reader.computed
    reader.run(slots(20, 28))
    assert reader.computed == computed


@pytest.mark.parametrize("capacity", [0, 1, 7, 64, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_any_interleaving_of_runs_reads_its_own_items(capacity: int, seed: int) -> None:
    """Runs begin and end in any order, several at once; each reads right until its end."""
    table, draw = ItemTable(WIDTH, capacity), np.random.default_rng(seed)
    version = np.ones(300, np.int64)
    open_runs: list[tuple[Columns, NDArray[np.int32], int, Content]] = []
    for _ in range(400):
        if open_runs and (len(open_runs) == 4 or draw.random() < 0.5):
            columns, rows, run, contents = open_runs.pop(int(draw.integers(len(open_runs))))
            np.testing.assert_array_equal(columns[rows], columns_of(contents))
            table.done(run)
            continue
        version[draw.integers(0, 300, 2)] += 1
        asked = np.minimum(draw.zipf(1.4, draw.integers(1, 40)) - 1, 299)
        wanted = version[asked] << 24 | asked
        wanted[draw.random(len(wanted)) < 0.02] = 0
        wanted[(draw.random(len(wanted)) < 0.05) & (wanted != 0)] -= 1 << 24  # read before its row changed
        contents = np.where(wanted == 0, draw.integers(1, 1 << 40, len(wanted)), wanted)
        taken = table.take(asking(wanted), lambda missing, contents=contents: columns_of(contents[missing]))  # type: ignore[misc]
        open_runs.append((*taken, contents))
    assert table.hits + table.misses > 0
    assert table.hits or capacity < 64


@pytest.mark.parametrize("capacity", [16, 200])
def test_several_threads_read_their_own_items(capacity: int) -> None:
    reader = Reader(capacity)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        draw = np.random.default_rng(seed)
        try:
            for _ in range(300):
                asked = np.minimum(draw.zipf(1.3, draw.integers(1, 30)) - 1, 149)
                reader.run(draw.integers(1, 3, len(asked)) << 24 | asked)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert reader.table.hits
