"""A trained model on disk: the RUN folder, written whole, with nothing in it that can run code.

model.safetensors   weights
config.json         model, recipe, seed, data and versions: `RunConfig`
schema.json         the data's schema, and dictionaries/ its dictionaries
sample.npz          inputs of up to 512 validation rows, for golden cases
metrics.json        {split: {task: its metrics}}
events/             TensorBoard events of its training
"""

import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from contract.bundle import INPUTS
from contract.errors import ConfigError, first_error
from contract.files import whole_folder, write_text
from contract.schema import Field, Schema, Strict, read_schema
from training.batches import Batch
from training.config import Recipe, parse_recipe
from training.datasets.prepared import SPLITS, Matrices, Prepared
from training.distributed import place
from training.models import Ranker, build_model
from training.report import Metrics

SAMPLE_ROWS = 512
MEANING = ("name", "side", "kind", "encoding", "buckets", "max_length", "default", "dictionary")  # Field.meaning
COLUMNS = INPUTS[:-1]  # the graph's inputs but `request_of_item`: each sampled row is a request of its own


class WarmStart(Strict):
    """The earlier run whose weights a run began with; `weights`: the digest of its model.safetensors."""

    run: str
    weights: str


class RunConfig(Strict):
    """`config.json`. `steps` were taken until the weights kept; `interrupted`: somebody stopped the run.

    `rows_per_second` were trained on, without validations; under torchrun by all `processes` together.
    """

    format_version: Literal[1] = 1
    model: str
    recipe: dict[str, object]
    seed: int
    device: str
    data: str
    source: str
    rows: dict[str, int]
    fingerprint: str
    processes: int = 1
    steps: int = 0
    interrupted: bool = False
    rows_per_second: float = 0.0
    warm_start: WarmStart | None = None
    versions: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """A trained model, on the CPU and in evaluation mode, with what is known about it."""

    model: Ranker
    config: RunConfig
    recipe: Recipe
    schema: Schema
    metrics: Metrics
    path: Path

    def sample(self) -> dict[str, NDArray[np.generic]]:
        """Inputs of up to 512 validation rows, one request and one item each."""
        with np.load(self.path / "sample.npz", allow_pickle=False) as content:
            return {name: content[name] for name in COLUMNS}


def describe(
    model: str,
    recipe: Recipe,
    seed: int,
    device: str,
    data: Prepared,
    steps: int = 0,
    interrupted: bool = False,
    rows_per_second: float = 0.0,
    warm_start: WarmStart | None = None,
) -> RunConfig:
    """The configuration of a run that begins, or just ended."""
    return RunConfig(
        model=model,
        recipe=recipe.model_dump(mode="json"),
        seed=seed,
        device=device,
        processes=place().world,
        data=str(data.path),
        source=data.description.source,
        rows={split: data.description.rows[split] for split in SPLITS},
        fingerprint=data.schema.fingerprint(),
        steps=steps,
        interrupted=interrupted,
        rows_per_second=round(rows_per_second, 1),
        warm_start=warm_start,
        versions={"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
    )


def save_checkpoint(
    out: Path,
    weights: dict[str, Tensor],
    config: RunConfig,
    data: Prepared,
    sample: Matrices | Batch,
    metrics: Metrics,
    events: Path | None = None,
) -> None:
    """Write the RUN folder whole; it takes the place of an earlier run. `events` are copied into it."""
    with whole_folder(out) as folder:
        save_file({name: weight.cpu().contiguous() for name, weight in weights.items()}, folder / "model.safetensors")
        write_text(folder / "config.json", config.model_dump_json(indent=1) + "\n")
        write_text(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        data.schema.save(folder / "schema.json")
        shutil.copytree(data.path / "dictionaries", folder / "dictionaries")
        rows = {name: np.asarray(getattr(sample, name)[:SAMPLE_ROWS]) for name in COLUMNS}
        np.savez(folder / "sample.npz", **rows)  # type: ignore[arg-type]
        if events is not None:
            shutil.copytree(events, folder / "events")


def check_out(out: Path) -> Path:
    """The RUN folder's full path; ConfigError where something else than an earlier run is in its place."""
    out = out.resolve()
    if out.is_dir() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise ConfigError(f"{out}: holds files that are no training run; choose another --out")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; choose another --out")
    return out


def load_checkpoint(run: Path, against: Prepared | None = None) -> Checkpoint:
    """Read what `save_checkpoint` wrote; ConfigError where it is absent, damaged or inconsistent.

    Also where data that it is to be used on (`against`) mean something else by the same columns.
    """
    config = _read_config(run / "config.json")
    schema = read_schema(run / "schema.json")
    if schema.fingerprint() != config.fingerprint:
        raise ConfigError(f"{run}: schema.json is not the one it was trained on (fingerprint differs); train again")
    if against is not None and against.schema.fingerprint() != config.fingerprint:
        raise ConfigError(
            f"{run}: was trained on another schema (fingerprint {config.fingerprint[:8]}) than that of "
            f"{against.path} ({against.schema.fingerprint()[:8]}): {_difference(schema, against.schema)}; "
            "train on these data, or give those it was trained on, or data that --extend them"
        )
    recipe = parse_recipe(config.model, config.recipe, str(run / "config.json"))
    model = build_model(config.model, schema, recipe.model)
    _load_weights(model, run / "model.safetensors")
    return Checkpoint(model.eval(), config, recipe, schema, _read_metrics(run / "metrics.json"), run)


def _difference(run: Schema, data: Schema) -> str:
    """The first field that means something else in two schemas."""
    known, given = ({field.name: field for field in schema.fields} for schema in (run, data))
    for name in [*given, *known]:
        if name not in known or name not in given:
            return f"the {'run has' if name not in known else 'data have'} no field '{name}'"
        was, now = _meaning(known[name]), _meaning(given[name])
        for key in [*now, *was]:
            if was.get(key) != now.get(key):
                return f"{key} of field '{name}' is {was.get(key)} in the run and {now.get(key)} in the data"
    return "the order of the fields differs"


def _meaning(field: Field) -> dict[str, object]:
    """By name; of options, those that are chosen."""
    values = field.meaning()
    named, options = dict(zip(MEANING, values, strict=False)), values[-1]
    return named | options if isinstance(options, dict) else named


def _read_config(path: Path) -> RunConfig:
    try:
        return RunConfig.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{path.parent}: not a training run; `python -m training train` writes one") from None
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_error(error)}") from None


def _read_metrics(path: Path) -> Metrics:
    try:
        metrics: Metrics = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); train again") from None
    return metrics


def _load_weights(model: Ranker, path: Path) -> None:
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); train again") from None
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    for name in sorted(expected | found):
        if expected.get(name) != found.get(name):
            raise ConfigError(
                f"{path}: '{name}' is {found.get(name, 'absent')} where schema.json and config.json ask for "
                f"{expected.get(name, 'nothing')}; the run's files do not belong together, train again"
            )
    model.load_state_dict(weights)
