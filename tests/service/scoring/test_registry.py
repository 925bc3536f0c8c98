"""Bundles that are loaded, and bundles that are refused."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from contract.bundle import INPUTS, read_bundle
from contract.errors import BundleError, ConfigError
from contract.schema import Schema, Side
from service.scoring.engine import CpuEngine, check_device
from service.scoring.inputs import from_arrays
from service.scoring.registry import find, load_model, load_models
from service.settings import Settings
from tests.service.bundles import FIELDS, TASKS, draw_inputs, write_tiny_bundle


def settings(root: Path) -> Settings:
    return Settings(bundles=root, max_items=120)


def test_two_references_to_one_bundle_share_an_engine(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, "dtn", 1, version="v1")
    write_tiny_bundle(tmp_path, "dtn", 2, version="v2")
    models = load_models({"dtn": "f:1", "dtn@v1": "f:2", "dtn@v2": "f:3"}, settings(tmp_path), threading.Event())
    assert models["dtn"] is models["dtn@v2"]  # the newest
    assert models["dtn@v1"].manifest.version == "v1"


def test_a_missing_model_or_version_is_named_with_the_line(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, "dtn", 1)
    for reference, message in (("mmoe", r"f:9: model 'mmoe': .*no bundle.*dtn exported"), ("dtn@v7", "newest is v1")):
        with pytest.raises(BundleError, match=message):
            load_models({reference: "f:9"}, settings(tmp_path), threading.Event())
    with pytest.raises(BundleError, match="none exported"):
        find(tmp_path / "nowhere", "dtn")


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, "dtn", 1)
    with (tmp_path / "dtn" / "v1" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"model\.onnx: altered"):
        load_model(tmp_path / "dtn" / "v1", settings(tmp_path))


def test_a_renamed_folder_is_refused(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, "dtn", 1)
    (tmp_path / "dtn").rename(tmp_path / "ple")
    with pytest.raises(BundleError, match=r"manifest\.json says dtn/v1"):
        load_model(tmp_path / "ple" / "v1", settings(tmp_path))


@pytest.mark.parametrize("shift", [2e-5, -1e-3, float("nan")])
def test_a_golden_case_that_differs_is_refused_by_task_and_case(tmp_path: Path, shift: float) -> None:
    write_tiny_bundle(tmp_path, "dtn", 1, golden_shift=shift)
    with pytest.raises(BundleError, match=r"task 'ctr', golden case 0: .*20 of 20 cases differ"):
        load_model(tmp_path / "dtn" / "v1", settings(tmp_path))


@pytest.mark.parametrize("sides", [(Side.USER, Side.ITEM), (Side.CONTEXT,), (Side.CROSS, Side.USER), (Side.ITEM,)])
def test_sides_without_fields_are_passed_as_empty_matrices(tmp_path: Path, sides: tuple[Side, ...]) -> None:
    fields = tuple(field for field in FIELDS if field.side in sides and field.slots)
    fields = fields or tuple(field for field in FIELDS if field.side in sides)
    schema = Schema(user_key="u", item_key="i", fields=fields, tasks=TASKS)
    graph = write_tiny_bundle(tmp_path, "dtn", 1, schema=schema)
    model = load_model(tmp_path / "dtn" / "v1", settings(tmp_path))
    inputs = draw_inputs(schema, 2, 5)
    assert 0 in [inputs[name].shape[1] for name in INPUTS[:-1]]
    np.testing.assert_allclose(model.engine.run(from_arrays(inputs))["ctr"], graph.scores(inputs)["ctr"], atol=1e-6)
    assert model.encoder.looks_up_users == (Side.USER in sides)
    assert model.encoder.looks_up_items == (Side.ITEM in sides)


def test_a_graph_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, "dtn", 1)
    bundle = read_bundle(tmp_path / "dtn" / "v1")
    with pytest.raises(BundleError, match="do not fit the manifest: income"):
        CpuEngine(replace(bundle, manifest=bundle.manifest.model_copy(update={"tasks": ("ctr", "income")})))
    graph = onnx.load(bundle.graphs["candidate"])
    graph.graph.input[0].name = "other"
    graph.graph.node.append(onnx.helper.make_node("Identity", ["other"], ["unused"]))
    for node in graph.graph.node:
        for n, name in enumerate(node.input):
            node.input[n] = "other" if name == "cross_ids" else name
    onnx.save(graph, bundle.graphs["candidate"])
    with pytest.raises(BundleError, match="do not fit the manifest: other"):
        CpuEngine(bundle)
    bundle.graphs["candidate"].write_bytes(b"no graph")
    with pytest.raises(BundleError, match="cannot load it on cpu"):
        CpuEngine(bundle)


def test_an_absent_device_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="TWINSCORE_DEVICE=cuda"):
        check_device("cuda")
