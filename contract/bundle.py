"""The model bundle on disk: an immutable folder `bundles/<model>/<version>/`, written whole, verified by digest.

model.onnx          the whole graph: the five inputs of INPUTS, one output [N] a task; for any ONNX runtime; always fp32
request.onnx        the same function in three: request_ids, request_dense → request_columns [R, …]
item.onnx           item_ids, item_dense, the stored item fields alone → item_columns [M, …]
candidate.onnx      both columns, request_of_item [N], item_rows [N], cross_ids and cross_dense [N, …] → the tasks;
                    its large matrix products are of the manifest's `precision`, all else of every graph is fp32
*_plain.onnx        request and candidate again, for candidates whose cross fields all hold their defaults
schema.json         the schema it was trained on
dictionaries/       value → id, one file a field, so that raw values in a request can be encoded
golden.npz          inputs and the scores that PyTorch gave for them; `difference` and the manifest's `tolerance` say
                    what agrees
manifest.json       what it is, and the sha256 of every other file

A precision other than fp32 is a model of its own, `<model>-int8` or `<model>-fp16`: the newest version of `ple` never
becomes another function, and an experiment can hold both against each other.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Attribute
from pydantic import ValidationError

from contract.dictionary import Dictionary
from contract.errors import BundleError, first_error
from contract.files import sha256, whole_folder, write_text
from contract.schema import Schema, Strict, read_schema

GRAPHS = ("request", "item", "candidate", "request_plain", "candidate_plain")  # of the split, those there are
INPUTS = ("request_ids", "request_dense", "item_ids", "item_dense", "request_of_item")
TOLERANCE = 1e-5  # fp32: largest `difference`
LOOSEST = 0.05  # the same of any precision
Precision = Literal["fp32", "int8", "fp16"]

Arrays = dict[str, NDArray[Any]]


class Manifest(Strict):
    """What a bundle is. `tasks` are in output order; `files` maps each file to its sha256."""

    format_version: Literal[2] = 2
    model: str
    version: str
    tasks: tuple[str, ...]
    fingerprint: str
    dictionary_sizes: dict[str, int]
    opset: int
    precision: Precision = "fp32"
    tolerance: float = Attribute(default=TOLERANCE, gt=0, le=LOOSEST)  # of the golden scores
    source_commit: str
    dataset: str
    rows: int
    metrics: dict[str, dict[str, float | None]]  # validation, by task; those of the checkpoint
    loss: dict[str, dict[str, float | None]] = Attribute(default_factory=dict)  # metrics of `precision` minus fp32's
    loss_rows: int = 0  # validation rows that `loss` was measured on
    recipe: dict[str, object]
    parity: float  # largest `difference` between PyTorch and ONNX Runtime that export saw
    macs: dict[str, int]  # by graph: multiply-accumulates of a row
    created: str
    files: dict[str, str] = Attribute(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found whole."""

    path: Path
    manifest: Manifest
    schema: Schema

    @property
    def model_path(self) -> Path:
        """The ONNX graph."""
        return self.path / "model.onnx"

    @property
    def graphs(self) -> dict[str, Path]:
        """The graphs of the split, by name."""
        return {name: path for name in GRAPHS if (path := self.path / f"{name}.onnx").name in self.manifest.files}

    @cached_property
    def dictionaries(self) -> dict[str, Dictionary]:
        """Dictionaries by field name."""
        return read_dictionaries(self.path, self.schema)

    def golden(self) -> tuple[Arrays, Arrays]:
        """Golden inputs by graph input, and the expected scores by task."""
        with np.load(self.path / "golden.npz", allow_pickle=False) as content:
            inputs = {name: content[name] for name in INPUTS}
            return inputs, {task: content[f"score:{task}"] for task in self.manifest.tasks}


def difference(expected: NDArray[np.float32], got: NDArray[np.float32]) -> NDArray[np.float64]:
    """|got - expected| / max(1, |expected|): absolute on probabilities, relative on amounts; NaN where either is."""
    wanted = expected.astype(np.float64)
    gaps: NDArray[np.float64] = np.abs(got.astype(np.float64) - wanted) / np.maximum(1.0, np.abs(wanted))
    return gaps


@contextmanager
def new_bundle(root: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield a folder to fill; digest, manifest and rename follow if the block succeeds. Never overwrites."""
    final = root / manifest.model / manifest.version
    if final.exists():
        raise BundleError(f"{final}: exists; bundles are immutable, choose another version")
    with whole_folder(final) as folder:
        yield folder
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        digests = {name: sha256(folder / name) for name in names}
        complete = manifest.model_copy(update={"files": digests})
        write_text(folder / "manifest.json", complete.model_dump_json(indent=1) + "\n")


def write_golden(folder: Path, inputs: Mapping[str, NDArray[Any]], scores: Mapping[str, NDArray[Any]]) -> None:
    """Write `golden.npz` into a bundle folder that is being filled."""
    cases = {name: inputs[name] for name in INPUTS} | {f"score:{task}": score for task, score in scores.items()}
    with (folder / "golden.npz").open("wb") as stream:
        np.savez(stream, allow_pickle=False, **cases)


def read_bundle(path: Path) -> Bundle:
    """Read and verify; BundleError names the file that is missing, altered or inconsistent."""
    manifest = _read_manifest(path / "manifest.json")
    for name, digest in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BundleError(f"{file}: missing from the bundle; export the model again")
        if sha256(file) != digest:
            raise BundleError(f"{file}: altered since export (sha256 differs); export the model again")
    schema = read_schema(path / "schema.json")
    if schema.fingerprint() != manifest.fingerprint:
        raise BundleError(f"{path}: schema.json and manifest.json disagree on the fingerprint; export the model again")
    return Bundle(path, manifest, schema)


def latest_version(root: Path, model: str) -> Path:
    """The newest version of a model (versions sort by name); BundleError where there is none."""
    versions = sorted(path.parent for path in (root / model).glob("[!.]*/manifest.json"))
    if not versions:
        known = sorted(path.name for path in root.glob("[!.]*") if path.is_dir()) if root.is_dir() else []
        raise BundleError(
            f"{root / model}: no bundle of model '{model}' ({', '.join(known) or 'none'} exported); "
            "run `python -m export model`"
        )
    return versions[-1]


def read_dictionaries(folder: Path, schema: Schema) -> dict[str, Dictionary]:
    """All dictionaries that a schema needs, from `folder/dictionaries`."""
    needed = [field.name for field in schema.fields if field.needs_dictionary]
    return {name: Dictionary.load(folder / "dictionaries" / f"{name}.npz") for name in needed}


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file; not a bundle, or one half-copied") from None
    except ValidationError as error:
        raise BundleError(f"{path}: {first_error(error)}") from None
