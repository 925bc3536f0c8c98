"""The ring of rows against a dict: what a run reads is always its own item's columns."""

import numpy as np
import pytest

from service.scoring.buckets import candidate_buckets, fitting
from service.scoring.row_index import Keys
from service.scoring.row_ring import RowRing
from tests.service.scoring.test_row_index import keys

LARGEST = 128
BUCKETS = candidate_buckets(LARGEST)


def padded(count: int) -> int:
    return fitting(BUCKETS, count)


class Memory:
    """A ring and the rows it speaks of, each of them holding a number; -1 is what padding writes."""

    def __init__(self, rows: int) -> None:
        self.ring = RowRing(rows, padded)
        self.content = np.full(rows, -2, np.int64)

    def run(self, asked: Keys, contents: Keys, *, failing: bool = False) -> int:
        """Read what these candidates hold, and compare; how many were computed."""
        placed = self.ring.place(asked)
        count = len(placed.computed)
        if count:
            self.content[placed.start : placed.start + padded(count)] = -1
            if failing:
                return count
            self.content[placed.start : placed.start + count] = contents[placed.computed]
            self.ring.keep(placed)
        np.testing.assert_array_equal(self.content[placed.rows], contents)
        return count


def test_what_was_computed_once_is_found_again() -> None:
    memory = Memory(1024)
    asked = keys(*((1, slot) for slot in range(100)))
    assert memory.run(asked, asked) == 100
    assert memory.run(asked[::-1].copy(), asked[::-1]) == 0
    assert (memory.ring.hits, memory.ring.misses) == (100, 100)


def test_an_item_of_several_requests_is_computed_once_and_one_without_a_key_each_time() -> None:
    memory = Memory(1024)
    asked = keys((1, 7), (1, 7), (0, 0), (1, 8), (0, 0))
    contents = np.array([70, 70, 1, 80, 2])
    assert memory.run(asked, contents) == 4
    assert memory.run(asked, np.array([70, 70, 3, 80, 4])) == 2


def test_two_contents_of_one_item_in_a_run_are_both_right() -> None:
    memory = Memory(1024)
    asked = keys((1, 7), (2, 7), (1, 7), (2, 7))
    for _ in range(3):
        memory.run(asked, asked)


def test_rows_that_the_run_reads_are_not_overwritten() -> None:
    memory = Memory(LARGEST)
    first = keys(*((1, slot) for slot in range(LARGEST)))
    memory.run(first, first)
    mixed = np.concatenate([first[:20], keys(*((2, slot) for slot in range(200, 260)))])  # the new ones go over the old
    assert memory.run(mixed, mixed) == len(mixed)


def test_what_failed_is_not_found() -> None:
    memory = Memory(256)
    asked = keys((1, 1), (1, 2))
    memory.run(asked, asked, failing=True)
    assert memory.run(asked, asked) == 2


@pytest.mark.parametrize("rows", [LARGEST, LARGEST + 1, 300, 2000])
@pytest.mark.parametrize("seed", range(5))
def test_any_sequence_of_runs_reads_its_own_items(rows: int, seed: int) -> None:
    memory, draw = Memory(rows), np.random.default_rng(seed)
    version = np.ones(500, np.int64)
    for _ in range(300):
        changed = draw.integers(0, 500, 5)
        version[changed] += 1
        slots = np.minimum(draw.zipf(1.3, draw.integers(1, LARGEST + 1)) - 1, 499)
        asked = version[slots] << 24 | slots
        asked[draw.random(len(asked)) < 0.1] = 0
        stale = draw.random(len(asked)) < 0.05  # read before its row changed
        asked[stale & (asked != 0)] -= 1 << 24
        contents = np.where(asked == 0, draw.integers(1 << 40, 1 << 41, len(asked)), asked)
        memory.run(asked, contents, failing=draw.random() < 0.05)
    assert memory.ring.misses
    assert memory.ring.hits or rows < 300
