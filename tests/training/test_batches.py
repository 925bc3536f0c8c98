"""Batches by index, and which rows count for which task."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from contract.errors import DataError
from contract.schema import Schema
from tests.training import tiny
from training.batches import Batch, ahead
from training.datasets.prepared import Matrices

NAN = float("nan")


def matrices(schema: Schema, labels: dict[str, list[float]]) -> Matrices:
    """Matrices whose first request id is the row's number."""
    rows = len(next(iter(labels.values()), []))
    request_ids, request_dense, item_ids, item_dense, _ = (x.numpy() for x in tiny.inputs(schema, rows, rows))
    request_ids[:, 0] = np.arange(rows)
    as_arrays = {task: np.array(values, np.float32) for task, values in labels.items()}
    return Matrices(request_ids, request_dense, item_ids, item_dense, as_arrays, {})


def of(labels: dict[str, list[float]]) -> Batch:
    """A split with these labels."""
    return Batch.of(matrices(tiny.schema(), labels), tiny.schema(), torch.device("cpu"))


def test_a_row_counts_where_its_label_is_known_and_its_space_is_entered() -> None:
    split = of({"ctr": [1, 0, 1, NAN], "cvr": [1, 1, NAN, 1]})
    assert split.counted.tolist() == [[1, 1], [1, 0], [1, 0], [0, 0]]
    assert split.labels.tolist() == [[1, 1], [0, 1], [1, 0], [0, 1]]


def test_an_epoch_meets_every_row_once_and_the_columns_stay_together() -> None:
    split = of({"ctr": [float(i % 2) for i in range(10)], "cvr": [0.0] * 10})
    batches = list(split.epoch(4, seed=3, epoch=0))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    rows = torch.cat([batch.request_ids[:, 0] for batch in batches])
    assert rows.tolist() != list(range(10))
    assert sorted(rows.tolist()) == list(range(10))
    assert torch.cat([batch.labels[:, 0] for batch in batches]).tolist() == (rows % 2).tolist()
    assert torch.equal(torch.cat([batch.item_dense for batch in batches]), split.item_dense[rows.long()])


def test_the_order_is_of_seed_and_epoch_and_an_epoch_is_joined_in_its_middle() -> None:
    split = of({"ctr": [0.0] * 50, "cvr": [0.0] * 50})

    def ids(*key: int) -> list[list[int]]:
        return [batch.request_ids[:, 0].tolist() for batch in split.epoch(8, *key)]

    assert ids(1, 0) == ids(1, 0)
    assert ids(1, 0) != ids(2, 0) != ids(2, 1) != ids(1, 1)
    assert ids(1, 0)[3:] == ids(1, 0, 3)
    assert split.steps(8) == len(ids(1, 0)) == 7


def test_a_sample_is_spread_over_all_rows() -> None:
    split = of({"ctr": [0.0] * 50, "cvr": [0.0] * 50})
    assert split.sample(50) is split
    assert split.sample(10).request_ids[:, 0].tolist() == list(range(0, 50, 5))


def test_what_is_made_ahead_is_the_same_and_an_error_arrives() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    before = set(threading.enumerate())  # libraries of other tests keep threads of their own
    assert list(ahead(iter(range(100)), depth=2)) == list(range(100))
    met: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        met.extend(ahead(failing(), depth=2))
    assert set(threading.enumerate()) <= before


def test_only_so_much_is_made_ahead_and_leaving_early_ends_the_thread() -> None:
    made = []

    def counted() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    before = set(threading.enumerate())
    items = ahead(counted(), depth=2)
    assert [next(items), next(items)] == [0, 1]
    time.sleep(0.05)
    assert len(made) == 4  # two taken, two waiting
    items.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before


def test_a_batch_brings_what_the_model_takes() -> None:
    batch = list(of({"ctr": [0.0] * 5, "cvr": [0.0] * 5}).in_order(3))[1]
    assert [len(part) for part in batch.inputs] == [2] * 4
    assert batch.inputs[0] is batch.request_ids


def test_labels_that_the_data_lack() -> None:
    with pytest.raises(DataError, match="no labels of task 'cvr'"):
        of({"ctr": [0.0]})
