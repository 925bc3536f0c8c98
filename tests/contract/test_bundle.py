"""Bundles appear whole, never change, and every altered file is named."""

from pathlib import Path

import numpy as np
import pytest

from contract.bundle import Manifest, difference, latest_version, new_bundle, read_bundle, write_golden
from contract.dictionary import Dictionary
from contract.errors import BundleError
from contract.schema import Field, Schema, Side, Task

SCHEMA = Schema(fields=(Field(name="city", side=Side.USER, size=2),), tasks=(Task(name="ctr", label="click"),))
MANIFEST = Manifest(
    model="m", version="1", tasks=("ctr",), fingerprint=SCHEMA.fingerprint(), dictionary_sizes={"city": 2}, opset=20,
    source_commit="c", dataset="d", rows=1, metrics={}, recipe={}, parity=0.0, macs={}, created="now",
)  # fmt: skip
INPUTS = {
    "request_ids": np.ones((1, 1), np.int32),
    "request_dense": np.ones((1, 0), np.float32),
    "item_ids": np.ones((2, 0), np.int32),
    "item_dense": np.ones((2, 0), np.float32),
    "request_of_item": np.zeros(2, np.int32),
}


def write(root: Path, version: str = "1") -> Path:
    with new_bundle(root, MANIFEST.model_copy(update={"version": version})) as folder:
        (folder / "model.onnx").write_bytes(b"graph")
        SCHEMA.save(folder / "schema.json")
        Dictionary.build({"Rome": 1}).save(folder / "dictionaries" / "city.npz")
        write_golden(folder, INPUTS, {"ctr": np.array([0.5, 0.25], np.float32)})
    return root / "m" / version


def test_what_is_written_is_read(tmp_path: Path) -> None:
    bundle = read_bundle(write(tmp_path))
    assert bundle.schema == SCHEMA
    assert bundle.dictionaries["city"].encode(["Rome"]).tolist() == [1]
    inputs, scores = bundle.golden()
    assert {name: array.shape for name, array in inputs.items()} == {n: a.shape for n, a in INPUTS.items()}
    assert scores["ctr"].tolist() == [0.5, 0.25]
    assert set(bundle.manifest.files) == {"model.onnx", "schema.json", "golden.npz", "dictionaries/city.npz"}


@pytest.mark.parametrize("name", ["model.onnx", "schema.json", "golden.npz", "dictionaries/city.npz"])
def test_an_altered_or_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"{name}: altered"):
        read_bundle(path)
    (path / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        read_bundle(path)


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with new_bundle(tmp_path, MANIFEST) as folder:
            (folder / "model.onnx").write_bytes(b"graph")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fill()
    assert list((tmp_path / "m").iterdir()) == []


def test_a_version_is_never_written_twice(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(BundleError, match="immutable"):
        write(tmp_path)


def test_the_newest_version_is_taken_and_an_unknown_model_named(tmp_path: Path) -> None:
    write(tmp_path, "2026-01")
    write(tmp_path, "2026-02")
    (tmp_path / "m" / ".2026-03.part").mkdir()
    assert latest_version(tmp_path, "m").name == "2026-02"
    with pytest.raises(BundleError, match=r"no bundle of model 'dtn' \(m exported\)"):
        latest_version(tmp_path, "dtn")


def test_manifest_and_schema_must_agree(tmp_path: Path) -> None:
    with new_bundle(tmp_path, MANIFEST.model_copy(update={"fingerprint": "0"})) as folder:
        SCHEMA.save(folder / "schema.json")
    with pytest.raises(BundleError, match="disagree on the fingerprint"):
        read_bundle(tmp_path / "m" / "1")


def test_differences_are_absolute_below_one_and_relative_above() -> None:
    expected, got = np.array([[0.5, 0.0, -200.0, 1e30, 1.0]]), np.array([[0.25, -0.5, -201.0, 2e30, np.nan]])
    np.testing.assert_allclose(
        difference(expected.astype(np.float32), got.astype(np.float32)), [[0.25, 0.5, 0.005, 1.0, np.nan]], rtol=1e-6
    )
