"""The engine of a device, with the runtime's CPU build as the device: it binds memory by address as CUDA does."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from contract.bundle import INPUTS, TOLERANCE, Arrays, Bundle, difference, read_bundle
from contract.errors import BundleError, ConfigError
from contract.rows import layout
from contract.schema import Side
from service.metrics import Metrics
from service.scoring.batching import Batcher
from service.scoring.cuda_engine import CudaEngine, device_thread
from service.scoring.cuda_session import CudaOptions
from service.scoring.device_table import Table
from service.scoring.engine import CpuEngine, Scores
from service.scoring.inputs import Inputs, from_arrays, merge
from service.scoring.registry import open_engine
from service.settings import Settings
from tests.service.bundles import SCHEMA, Graph, draw_inputs, write_tiny_bundle

LARGEST = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def graph(folder: Path) -> Graph:
    return write_tiny_bundle(folder, "dtn", 1)


@pytest.fixture(scope="module")
def bundle(folder: Path, graph: Graph) -> Bundle:
    return read_bundle(folder / "dtn" / "v1")


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> CudaEngine:
    return CudaEngine(bundle, largest=LARGEST, table=Table(1000, 1), device="cpu")


def check(engine: CudaEngine, graph: Graph, inputs: Inputs) -> None:
    """Scores are what numpy says, in shape and type too."""
    arrays: Arrays = {name: getattr(inputs, name) for name in INPUTS}
    expected, got = graph.scores(arrays), engine.run(inputs)
    assert list(got) == list(expected)
    for task, scores in expected.items():
        assert got[task].shape == (len(inputs),)
        assert got[task].dtype == np.float32
        assert (difference(scores, got[task]) <= TOLERANCE).all(), task


def drawn(requests: int, candidates: int, seed: int = 0) -> Inputs:
    return from_arrays(draw_inputs(SCHEMA, requests, candidates, seed))


@pytest.mark.parametrize("candidates", [1, 2, 63, 64, 65, 200, 255, 256, 257, 600])
@pytest.mark.parametrize("requests", [1, 16, 17, 130])
def test_any_number_of_candidates_and_requests_is_scored(
    engine: CudaEngine, graph: Graph, requests: int, candidates: int
) -> None:
    check(engine, graph, drawn(requests, candidates, seed=requests + candidates))


def test_a_part_of_many_requests_is_scored(engine: CudaEngine, graph: Graph) -> None:
    many = drawn(300, 500)
    check(engine, graph, many.part(100, 103))
    check(engine, graph, merge([many.part(0, 7), many.part(7, 60), drawn(2, 5)]))


def test_no_candidates_give_no_scores(engine: CudaEngine) -> None:
    assert {task: scores.shape for task, scores in engine.run(drawn(1, 5).part(0, 0)).items()} == {
        "ctr": (0,), "ctcvr": (0,)
    }  # fmt: skip


def test_scores_outlive_the_next_run(engine: CudaEngine) -> None:
    scores = engine.run(drawn(2, 50, seed=1))["ctr"]
    kept = scores.copy()
    engine.run(drawn(2, 50, seed=2))
    np.testing.assert_array_equal(scores, kept)
    assert scores.base is None or scores.base.shape[-1] == 50  # not all of the bucket is kept


def with_keys(inputs: Inputs, keys: NDArray[np.int64]) -> Inputs:
    return Inputs(
        inputs.request_ids, inputs.request_dense, inputs.item_ids, inputs.item_dense, inputs.request_of_item, keys
    )


@pytest.mark.parametrize("items", [0, 10, 100, 10_000])
def test_items_come_from_the_table_whatever_its_size(bundle: Bundle, graph: Graph, items: int) -> None:
    """Random runs over a catalogue whose rows change, a cross feature differing each time."""
    engine = CudaEngine(bundle, largest=128, table=Table(items, 1), device="cpu")
    draw, catalogue = np.random.default_rng(items), drawn(1, 400, seed=3)
    version = np.ones(400, np.int64)
    for run in range(60):
        changed = draw.integers(0, 400, 3)
        catalogue.item_ids[changed, :] = draw.integers(0, 60, (3, catalogue.item_ids.shape[1]))
        version[changed] += 1
        slots = np.minimum(draw.zipf(1.5, draw.integers(1, 200)) - 1, 399)
        asked = drawn(3, len(slots), seed=run)
        item_dense = catalogue.item_dense[slots]
        item_dense[:, -1] = asked.item_dense[:, -1]  # affinity, which comes with the request
        keys = np.where(draw.random(len(slots)) < 0.1, 0, version[slots] << 24 | slots)
        inputs = Inputs(
            asked.request_ids, asked.request_dense, catalogue.item_ids[slots], item_dense, asked.request_of_item, keys
        )
        check(engine, graph, inputs)


def test_a_kept_item_is_not_computed_again(bundle: Bundle, graph: Graph) -> None:
    engine = CudaEngine(bundle, largest=128, table=Table(100, 1), device="cpu")
    keys = np.arange(1, 41) | 1 << 24
    first = with_keys(drawn(1, 40, seed=1), keys)
    check(engine, graph, first)
    others = with_keys(drawn(1, 40, seed=2), keys)  # other columns under the same keys: the old ones are read
    stored = Inputs(
        others.request_ids, others.request_dense, first.item_ids,
        np.column_stack([first.item_dense[:, 0], others.item_dense[:, 1]]), others.request_of_item, keys,
    )  # fmt: skip
    for task, scores in engine.run(stored).items():
        np.testing.assert_array_equal(engine.run(others)[task], scores)


def test_a_table_that_does_not_fit_leaves_the_rows_of_a_run(bundle: Bundle, graph: Graph) -> None:
    engine = CudaEngine(bundle, largest=64, table=Table(1 << 50, 1 << 50), device="cpu")
    check(engine, graph, with_keys(drawn(2, 60), np.arange(1, 61) | 1 << 24))


def test_without_the_split_scores_are_the_same(bundle: Bundle, graph: Graph) -> None:
    whole = CudaEngine(bundle, largest=128, device="cpu", split=False)
    for requests, candidates in ((1, 1), (20, 100), (100, 300)):
        check(whole, graph, drawn(requests, candidates))


def altered(bundle: Bundle, folder: Path, graphs: Mapping[str, onnx.ModelProto]) -> Bundle:
    """The bundle with these graphs added or replaced."""
    copytree(bundle.path, folder)
    for name, model in graphs.items():
        onnx.save(model, folder / f"{name}.onnx")
    files = {**bundle.manifest.files, **{f"{name}.onnx": "" for name in graphs}}
    return replace(bundle, path=folder, manifest=bundle.manifest.model_copy(update={"files": files}))


def with_constants(model: onnx.ModelProto, values: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """These inputs become constants of one row, which numpy's rules of shapes repeat."""
    inputs = [node for node in model.graph.input if node.name not in values]
    model.graph.ClearField("input")
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
    return model


def test_candidates_without_cross_features_take_the_plain_graphs(bundle: Bundle, graph: Graph, tmp_path: Path) -> None:
    """Here the plain graphs take the affinity for 5 where it is its default, which tells them from the others."""
    values = {"cross_ids": np.zeros((1, 0), np.int32), "cross_dense": np.full((1, 1), 5, np.float32)}
    plain = with_constants(onnx.load(bundle.graphs["candidate"]), values)
    two = altered(
        bundle, tmp_path / "v1", {"candidate_plain": plain, "request_plain": onnx.load(bundle.graphs["request"])}
    )
    engine = CudaEngine(two, largest=64, table=Table(100, 1), device="cpu")
    brought = drawn(3, 50)
    check(engine, graph, brought)
    (default,) = layout(two.schema, two.dictionaries, Side.CROSS).default_dense
    one_brought = drawn(3, 50)
    one_brought.item_dense[1:, -1] = default
    check(engine, graph, one_brought)
    none = drawn(3, 50)
    none.item_dense[:, -1] = default
    five = drawn(3, 50)
    five.item_dense[:, -1] = 5
    for task, scores in engine.run(five).items():
        assert (difference(scores, engine.run(none)[task]) <= TOLERANCE).all()


def test_a_graph_that_replays_other_scores_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.graphs["candidate"])
    last = next(node for node in model.graph.node if "ctr" in node.output)
    last.output[0] = "ctr:steady"
    model.graph.node.extend(
        [
            onnx.helper.make_node("RandomUniformLike", ["ctr:steady"], ["ctr:noise"]),
            onnx.helper.make_node("Add", ["ctr:steady", "ctr:noise"], ["ctr"]),
        ]
    )
    with pytest.raises(BundleError, match=r"64 candidates replays other scores .*TWINSCORE_CUDA_GRAPHS=false"):
        CudaEngine(altered(bundle, tmp_path / "v1", {"candidate": model}), largest=64, device="cpu")


def test_one_thread_calls_the_device(bundle: Bundle, engine: CudaEngine, graph: Graph) -> None:
    assert device_thread("cpu") is device_thread("cpu")
    failures: list[BaseException] = []

    def score(seed: int) -> None:
        try:
            for turn in range(10):
                check(engine, graph, drawn(3, 50 + seed, seed=100 * seed + turn))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=score, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sum(thread.name.startswith("device-cpu") for thread in threading.enumerate()) == 1


def test_a_graph_that_does_not_load_is_named(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, "dtn", 1)
    bundle = read_bundle(tmp_path / "dtn" / "v1")
    (tmp_path / "dtn" / "v1" / "item.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"item\.onnx: ONNX Runtime cannot load it"):
        CudaEngine(bundle, device="cpu")


def test_memory_that_is_not_there_is_one_line(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"v1: cannot be loaded on cpu: .*lower TWINSCORE_MAX_BATCH_ROWS") as caught:
        CudaEngine(bundle, largest=1 << 44, device="cpu")
    assert len(str(caught.value).splitlines()) == 1


def test_cuda_that_is_absent_is_named(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="no CUDA"):
        CudaEngine(bundle, CudaOptions())


def test_the_device_that_is_set_has_its_engine(bundle: Bundle) -> None:
    assert isinstance(open_engine(bundle, Settings(device="cpu", threads=1)), CpuEngine)
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(ConfigError, match="no CUDA"):
            open_engine(bundle, Settings(device="cuda"))


def test_requests_at_once_share_runs(engine: CudaEngine, graph: Graph) -> None:
    async def scored(requests: list[Inputs]) -> list[Scores]:
        batcher = Batcher("dtn", engine, Metrics(), 4096, 100_000)
        try:
            return await asyncio.gather(*(batcher.score(inputs) for inputs in requests))
        finally:
            batcher.close()

    requests = [drawn(1, 1 + 17 * turn, seed=turn) for turn in range(30)]  # the last is of two runs
    for inputs, scores in zip(requests, asyncio.run(scored(requests)), strict=True):
        expected = graph.scores({name: getattr(inputs, name) for name in INPUTS})
        assert all((difference(expected[task], scores[task]) <= TOLERANCE).all() for task in expected)
