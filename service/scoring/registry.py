"""Models in memory: verified by digest, checked against their golden cases, warm."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.bundle import Bundle, Manifest, difference, latest_version, read_bundle
from contract.errors import BundleError
from contract.schema import Schema, widths
from service.metrics import Metrics
from service.scoring.batching import Batcher
from service.scoring.cuda_engine import CudaEngine
from service.scoring.cuda_session import CudaOptions
from service.scoring.device_table import Table
from service.scoring.engine import CpuEngine, Engine
from service.scoring.features import Encoder
from service.scoring.inputs import Inputs, from_arrays, one_request
from service.settings import Settings

_NONE: Mapping[Path, "Model"] = {}


@dataclass(frozen=True)
class Model:
    """A bundle ready to score."""

    bundle: Bundle
    engine: Engine
    encoder: Encoder

    @property
    def manifest(self) -> Manifest:
        """What the bundle is."""
        return self.bundle.manifest


@dataclass(frozen=True)
class Served:
    """A model and the queue before its engine."""

    model: Model
    batcher: Batcher


def load_models(
    references: Mapping[str, str], settings: Settings, stop: threading.Event, loaded: Mapping[Path, Model] = _NONE
) -> dict[str, Model]:
    """Every model by its reference, `name` or `name@version`; `references` says where each is named.

    Those that are `loaded`, by their folders, are not loaded again. Raises BundleError, with that place, where one is
    missing, damaged, or misses its golden scores.
    """
    by_path = dict(loaded)
    models: dict[str, Model] = {}
    for reference, where in references.items():
        if stop.is_set():
            break
        try:
            path = find(settings.bundles, reference)
            models[reference] = by_path[path] = by_path.get(path) or load_model(path, settings)
        except BundleError as error:
            raise BundleError(f"{where}: model '{reference}': {error}") from None
    return models


def find(root: Path, reference: str) -> Path:
    """The folder of `name` (its newest version) or `name@version`."""
    name, _, version = reference.partition("@")
    if not version:
        return latest_version(root, name)
    path = root / name / version
    if not (path / "manifest.json").is_file():
        newest = latest_version(root, name).name
        raise BundleError(f"{path}: no such version; the newest is {newest}")
    return path


def load_model(path: Path, settings: Settings) -> Model:
    """Read, verify, check against the golden cases, warm up."""
    bundle = read_bundle(path)
    if (bundle.manifest.model, bundle.manifest.version) != (path.parent.name, path.name):
        raise BundleError(
            f"{path}: manifest.json says {bundle.manifest.model}/{bundle.manifest.version}; restore the folder's name"
        )
    engine = open_engine(bundle, settings)
    check_golden(bundle, engine)
    for candidates in sorted({1, 100, settings.max_items}):
        engine.run(zeros(bundle.schema, candidates))
    return Model(bundle, engine, Encoder(bundle))


def open_engine(bundle: Bundle, settings: Settings) -> Engine:
    """The engine of the device that is set."""
    if settings.device == "cpu":
        return CpuEngine(bundle, settings.engine_threads, settings.item_cache_rows, settings.item_table_mb)
    options = CudaOptions(
        settings.cuda_graphs, settings.gpu_mem_mb, settings.tf32, settings.tensorrt, settings.tensorrt_cache
    )
    table = Table(settings.item_cache_rows, settings.item_table_mb)
    return CudaEngine(bundle, options, settings.max_batch_rows, table)


def check_golden(bundle: Bundle, engine: Engine) -> None:
    """BundleError where a score differs from the one PyTorch gave at export, naming task and case."""
    inputs, expected = bundle.golden()
    tolerance = bundle.manifest.tolerance
    try:
        scores = engine.run(from_arrays(inputs))
    except Exception as error:  # the runtime's own classes
        raise BundleError(f"{bundle.path}: the golden cases do not run: {' '.join(str(error).split())[:200]}") from None
    for task, wanted in expected.items():
        got = scores[task]
        if got.shape != wanted.shape:
            raise BundleError(f"{bundle.path}: task '{task}': {got.shape} scores for {wanted.shape} golden cases")
        gap = difference(wanted, got)
        bad = np.flatnonzero(~(gap <= tolerance))
        if len(bad):
            case = int(bad[0])
            raise BundleError(
                f"{bundle.path}: task '{task}', golden case {case}: score {got[case]:.6g}, but {wanted[case]:.6g} "
                f"at export (tolerance {tolerance:g}; {len(bad)} of {len(gap)} cases differ); export the model again"
            )


def zeros(schema: Schema, candidates: int) -> Inputs:
    """Inputs of one request without any feature."""
    (ids, dense), (item_ids, item_dense) = widths(schema.request_fields), widths(schema.item_fields)
    return one_request(
        np.zeros((1, ids), np.int32),
        np.zeros((1, dense), np.float32),
        np.zeros((candidates, item_ids), np.int32),
        np.zeros((candidates, item_dense), np.float32),
    )


def serve_model(model: Model, settings: Settings, metrics: Metrics) -> Served:
    """A model with a queue of its own."""
    manifest = model.manifest
    batcher = Batcher(model_name(model), model.engine, metrics, settings.max_batch_rows, settings.max_waiting_rows)
    metrics.loaded(manifest.model, manifest.version, manifest.fingerprint, manifest.dataset)
    return Served(model, batcher)


def model_name(model: Model) -> str:
    """NAME@VERSION."""
    return f"{model.manifest.model}@{model.manifest.version}"
