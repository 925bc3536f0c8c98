"""int8 and fp16: what changes type and what must not, what it costs, and what is refused."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from contract.bundle import LOOSEST, TOLERANCE, Bundle, latest_version, read_bundle, read_dictionaries
from contract.errors import BundleError, ConfigError
from contract.rows import layout
from contract.schema import Side
from export.assessment import MAX_CALIBRATION_SHIFT, Metrics, assessed, check
from export.draws import draw_split_inputs
from export.graph import large_products
from export.half import halved
from export.model import export_model, export_split
from export.parity import SplitSession
from export.precision import converted
from export.variant import make_variant, validation_rows
from service.scoring.inputs import from_arrays
from service.scoring.registry import check_golden, load_model, open_engine
from service.settings import Settings
from tests.training import tiny
from training.batches import Batch
from training.checkpoint import Checkpoint, describe, load_checkpoint, save_checkpoint
from training.config import read_recipe
from training.datasets.prepared import Prepared
from training.evaluation import evaluate
from training.models import build_model

WIDE = {
    "ple": ["model.embedding=4", "model.tower=[8]", "model.expert_layers=[128]"],
    "dtn": [
        "model.embedding=16", "model.tower=[8]", "model.memonet.code_book=5000", "model.masknet.width=128",
    ],
}  # fmt: skip
FIXED = {"Softmax", "Sigmoid", "LayerNormalization", "ReduceMean", "ReduceSum", "Gather"}
pytestmark = pytest.mark.slow  # two exports, each traced three times


def run_folder(folder: Path, name: str) -> Path:
    data = Prepared.open(tiny.prepare(folder / "data", tiny.schema()))
    recipe = read_recipe(name, None, WIDE[name])
    torch.manual_seed(1)
    weights = build_model(name, data.schema, recipe.model).state_dict()
    metrics = {split: {task.name: {"auc": 0.5} for task in data.schema.tasks} for split in ("validation", "test")}
    config = describe(name, recipe, 0, "cpu", data)
    save_checkpoint(folder / "run", weights, config, data, data.matrices("validation"), metrics)  # type: ignore[arg-type]
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("ple"), "ple")


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Checkpoint:
    return load_checkpoint(run)


@pytest.fixture(scope="module")
def rows(checkpoint: Checkpoint) -> Batch:
    return validation_rows(checkpoint, None)


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    """In int8."""
    root = run.parent / "bundles"
    return read_bundle(export_model(run, root, "int8", max_auc_loss=0.05))  # 400 rows, untrained


@pytest.fixture(scope="module")
def dtn(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The split graphs of a DTN in fp32: with code words, gates by softmax, and layer norms."""
    schema, folder = tiny.schema(), tmp_path_factory.mktemp("dtn")
    torch.manual_seed(1)
    model = build_model("dtn", schema, read_recipe("dtn", None, WIDE["dtn"]).model)
    return export_split(model, schema, layout(schema, read_dictionaries(run, schema), Side.CROSS), folder)


def test_int8_is_a_model_of_its_own_and_says_what_it_costs(bundle: Bundle) -> None:
    manifest, root = bundle.manifest, bundle.path.parents[1]
    assert (manifest.model, manifest.precision, manifest.loss_rows) == ("ple-int8", "int8", 400)
    assert latest_version(root, "ple-int8") == bundle.path
    with pytest.raises(BundleError, match="no bundle of model 'ple'"):
        latest_version(root, "ple")  # int8 never takes the place of what is exact
    assert TOLERANCE < manifest.tolerance <= LOOSEST
    for task in manifest.tasks:
        assert 0 < abs(manifest.loss[task]["log_loss"] or 0) < 0.01
        assert {"auc", "log_loss", "ece", "calibration"} == set(manifest.loss[task])


def test_int8_touches_nothing_but_large_products_of_candidates(bundle: Bundle) -> None:
    for name, path in {**bundle.graphs, "model": bundle.model_path}.items():
        graph = onnx.load(path).graph
        small = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.INT8}
        assert bool(small) == name.startswith("candidate"), name
        assert not large_products(graph) or not name.startswith("candidate")  # their weights come quantised
        kinds = {node.op_type for node in graph.node if set(node.input) & small}
        assert kinds <= {"DequantizeLinear"}


def test_the_service_serves_int8(bundle: Bundle) -> None:
    model = load_model(bundle.path, Settings(bundles=bundle.path.parents[1], max_items=120))
    inputs, expected = bundle.golden()
    scores = model.engine.run(from_arrays(inputs))
    for task, wanted in expected.items():
        gap = float(np.abs(scores[task] - wanted).max())
        assert TOLERANCE < gap <= bundle.manifest.tolerance


def test_golden_cases_are_held_to_the_tolerance_of_the_bundle(bundle: Bundle) -> None:
    engine = open_engine(bundle, Settings(bundles=bundle.path.parents[1]))
    strict = replace(bundle, manifest=bundle.manifest.model_copy(update={"tolerance": TOLERANCE}))
    with pytest.raises(BundleError, match=r"golden case .*tolerance 1e-05"):
        check_golden(strict, engine)


def test_an_int8_score_does_not_depend_on_the_candidates_beside_it(bundle: Bundle) -> None:
    """As it would if activations were scaled by the batch that they are in."""
    session, inputs = SplitSession(bundle.graphs, bundle.schema), draw_split_inputs(bundle.schema, 1, 8, 8, seed=2)
    fed = session.columns(inputs)
    other = {**fed, "item_columns": fed["item_columns"].copy()}
    own = int(inputs["item_rows"][0])
    other["item_columns"][np.arange(8) != own] *= 50
    before, after = session.candidate_scores(fed), session.candidate_scores(other)
    beside = inputs["item_rows"] != own
    for task in bundle.manifest.tasks:
        assert before[task][0] == after[task][0]
        assert (before[task][beside] != after[task][beside]).any()


def test_fp16_scores_are_near_and_its_columns_softmax_and_outputs_fp32(
    dtn: dict[str, Path], rows: Batch, tmp_path: Path
) -> None:
    schema = tiny.schema()
    made = converted(dtn, "fp16", rows, schema, tmp_path)
    assert set(made) == {"candidate", "candidate_plain"}
    inputs = draw_split_inputs(schema, 2, 50, 50, seed=3)
    for suffix in ("", "_plain"):
        wanted = SplitSession(dtn, schema, suffix).scores(inputs)
        got = SplitSession({**dtn, **made}, schema, suffix).scores(inputs)
        for task, column in wanted.items():
            assert got[task].dtype == np.float32
            assert 0 < float(np.abs(got[task] - column).max()) < 2e-3
    halves, graph = _halves(onnx.load(made["candidate"]))
    assert halves  # some nodes did change
    for node in graph.node:
        if node.op_type in FIXED:
            assert not halves & {*node.input, *node.output}, node.op_type


def _halves(model: onnx.ModelProto) -> tuple[set[str], onnx.GraphProto]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT16}, graph


def ids_among_columns(weight: float = 0.5) -> onnx.ModelProto:
    """Columns [N, 129]: an id, looked up, and 128 numbers, multiplied; their sum [N] comes out."""
    weights = np.full((128, 64), weight, np.float32)
    constants = {"widths": np.array([1, 128]), "one": np.array([1]), "w": weights, "ones": np.ones((64, 1), np.float32)}
    constants |= {"origin": np.array(2**24 - 8, np.int64), "table": np.arange(8, dtype=np.float32)}
    nodes = [
        helper.make_node("Split", ["columns", "widths"], ["code", "numbers"], axis=1),
        helper.make_node("Cast", ["code"], ["id"], to=TensorProto.INT64),
        helper.make_node("Sub", ["id", "origin"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["word"]),
        helper.make_node("MatMul", ["numbers", "w"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "ones"], ["total"]),
        helper.make_node("Add", ["word", "total"], ["sum"]),
        helper.make_node("Squeeze", ["sum", "one"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ids",
        [helper.make_tensor_value_info("columns", TensorProto.FLOAT, ["N", 129])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_ids_that_ride_among_fp32_columns_stay_exact_in_fp16() -> None:
    import onnxruntime

    model = halved(ids_among_columns())
    halves, _ = _halves(model)
    assert {"hidden", "active"} <= halves  # the Relu between is not cast back and forth
    columns = np.zeros((8, 129), np.float32)
    columns[:, 0] = 2**24 - 8 + np.arange(8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"columns": columns})
    assert scores.tolist() == list(range(8))


def test_a_weight_that_fp16_cannot_hold_is_refused() -> None:
    with pytest.raises(BundleError, match=r"fp16: w holds 7e\+04, beyond 65504"):
        halved(ids_among_columns(weight=7e4))


def test_assessed_metrics_are_those_of_training(checkpoint: Checkpoint, rows: Batch, bundle: Bundle) -> None:
    session = SplitSession(bundle.graphs, bundle.schema)
    exact, same = assessed(session, session, rows, bundle.schema)
    assert exact == same
    for task, of_task in evaluate(checkpoint.model, rows).items():
        assert exact[task]["auc"] == pytest.approx(of_task.get("auc"), abs=0.02)
        assert exact[task]["calibration"] == pytest.approx(of_task["calibration"], abs=0.02)
        assert exact[task]["log_loss"] == pytest.approx(of_task.get("log_loss"), abs=2e-3)


EXACT: Metrics = {
    "ctr": {"auc": 0.7, "calibration": 1.0, "log_loss": 0.5},
    "value": {"spearman": 0.4, "calibration": 0.9},
}


@pytest.mark.parametrize(
    ("task", "metric", "value", "message"),
    [
        ("ctr", "auc", 0.6985, r"int8: task 'ctr' loses 0.00150 of AUC 0.7000, more than --max-auc-loss 0.001"),
        ("ctr", "auc", float("nan"), "task 'ctr' loses nan"),
        ("value", "spearman", 0.39, "task 'value' loses 0.01000 of Spearman"),
        ("value", "calibration", 0.9 * (1 + 2 * MAX_CALIBRATION_SHIFT), r"task 'value' moves from 0.9000 to 0.9180"),
        ("ctr", "calibration", float("nan"), "task 'ctr' moves"),
    ],
)
def test_what_costs_too_much_is_refused(task: str, metric: str, value: float, message: str) -> None:
    check(EXACT, EXACT, "int8", 0.001)
    worse = {**EXACT, task: {**EXACT[task], metric: value}}
    with pytest.raises(BundleError, match=message):
        check(EXACT, worse, "int8", 0.001)


def test_a_better_variant_is_not_refused() -> None:
    check(EXACT, {**EXACT, "ctr": {"auc": 0.75, "calibration": 1.005, "log_loss": 0.4}}, "int8", 0.0)


def test_the_bound_holds_for_converted_graphs_and_the_cost_is_told_before(
    dtn: dict[str, Path], rows: Batch, tmp_path: Path
) -> None:
    told = io.StringIO()
    with pytest.raises(BundleError, match=r"more than --max-auc-loss -1; no bundle was written"):
        make_variant(dtn, "fp16", rows, tiny.schema(), tmp_path, -1.0, Console(file=told, width=120))
    for words in ("candidate.onnx, 400 validation rows", "AUC", "calibration", "rows/s in fp32"):
        assert words in told.getvalue()


def test_bf16_is_refused_with_the_reason(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no bfloat16 matrix product .* take int8"):
        export_model(run, tmp_path, "bf16")


def test_a_model_without_a_large_product_is_refused(rows: Batch, tmp_path: Path) -> None:
    graph = onnx.load_from_string(ids_among_columns().SerializeToString())
    graph.graph.node[4].input[1] = "ones"
    onnx.save(graph, tmp_path / "candidate.onnx")
    with pytest.raises(ConfigError, match="no matrix product large enough"):
        converted({"candidate": tmp_path / "candidate.onnx"}, "int8", rows, tiny.schema(), tmp_path / "int8")


def test_data_that_are_gone_are_asked_for(checkpoint: Checkpoint, tmp_path: Path) -> None:
    gone = replace(checkpoint, config=checkpoint.config.model_copy(update={"data": str(tmp_path / "gone")}))
    with pytest.raises(ConfigError, match=r"gone.*name its prepared data by --data"):
        validation_rows(gone, None)
    other = Prepared.open(tiny.prepare(tmp_path / "other", tiny.schema(tiny.FIELDS[:-1])))
    with pytest.raises(ConfigError, match="was trained on another schema"):
        validation_rows(checkpoint, other.path)
