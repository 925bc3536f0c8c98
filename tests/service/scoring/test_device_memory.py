"""Tensors of several types in one block, bound by address."""

import gc
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from contract.bundle import read_bundle
from service.scoring.device_lane import Step
from service.scoring.device_memory import Block, Form, Packed, pin
from service.scoring.engine import open_session
from tests.service.bundles import write_tiny_bundle


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> ort.InferenceSession:
    """A graph that reads item_ids [M, 2] and item_dense [M, 1]."""
    folder = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(folder, "dtn", 1)
    return open_session(read_bundle(folder / "dtn" / "v1").graphs["item"])


def test_tensors_of_a_block_do_not_overlap_and_are_aligned(session: ort.InferenceSession) -> None:
    forms: dict[str, Form] = {
        "a": ((3, 5), np.int32),
        "none": ((7, 0), np.int32),
        "b": ((100,), np.float32),
        "c": ((1,), np.float16),
    }
    packed = Packed(session, "cpu", forms)
    places = sorted((at.address, at.address + int(np.prod(at.shape)) * np.dtype(at.dtype).itemsize)
                    for at in packed.tensors.values())  # fmt: skip
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    first = packed.tensors["a"].address
    assert {(at.address - first) % 256 for at in packed.tensors.values()} == {0}
    assert {name: (at.shape, at.dtype) for name, at in packed.tensors.items()} == forms


def test_what_is_sent_is_what_a_graph_reads(session: ort.InferenceSession) -> None:
    ids, dense = np.arange(10, dtype=np.int32).reshape(5, 2), np.arange(5, dtype=np.float32).reshape(5, 1)
    packed = Packed(session, "cpu", {"item_ids": ((5, 2), np.int32), "item_dense": ((5, 1), np.float32)})
    columns = Block(session, "cpu", ((5, 2), np.float32))
    step = Step(session, "cpu")
    step.read(packed.tensors)
    step.write({"item_columns": columns.tensor((5, 2))})
    packed.send({"item_ids": ids, "item_dense": dense})
    step.run()
    (expected,) = session.run(None, {"item_ids": ids, "item_dense": dense})
    np.testing.assert_array_equal(columns.read(), expected)
    packed.send({"item_ids": ids[:2] + 20, "item_dense": dense[:2]})  # the rows beyond keep what they held
    step.run()
    (fewer,) = session.run(None, {"item_ids": ids[:2] + 20, "item_dense": dense[:2]})
    np.testing.assert_array_equal(columns.read(), np.vstack([fewer, expected[2:]]))


def test_before_anything_is_sent_ids_are_zero(session: ort.InferenceSession) -> None:
    for _ in range(20):
        packed = Packed(session, "cpu", {"item_ids": ((64, 2), np.int32), "item_dense": ((64, 1), np.float32)})
        columns = Block(session, "cpu", ((64, 2), np.float32))
        step = Step(session, "cpu")
        step.read(packed.tensors)
        step.write({"item_columns": columns.tensor((64, 2))})
        step.run()
        assert len(np.unique(columns.read(), axis=0)) == 1
        columns.write(np.full((64, 2), 7e7, np.float32))  # left to whoever gets the memory next


def test_bound_memory_outlives_the_names_for_it(session: ort.InferenceSession) -> None:
    step = Step(session, "cpu")
    packed = Packed(session, "cpu", {"item_ids": ((64, 2), np.int32), "item_dense": ((64, 1), np.float32)})
    columns = Block(session, "cpu", ((64, 2), np.float32))
    step.read(packed.tensors)
    step.write({"item_columns": columns.tensor((64, 2))})
    blocks = [weakref.ref(packed.tensors["item_ids"].block), weakref.ref(columns)]
    del packed, columns
    gc.collect()
    assert all(block() is not None for block in blocks)
    del step
    gc.collect()
    assert all(block() is None for block in blocks)


def test_without_cuda_nothing_is_pinned(session: ort.InferenceSession, tmp_path: Path) -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        assert not pin(np.zeros(4096, np.uint8))
    assert not Packed(session, "cpu", {"item_ids": ((5, 2), np.int32)}).pinned
