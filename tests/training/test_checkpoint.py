"""RUN folders: what is written is what is read, and damage is named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from contract.errors import ConfigError
from contract.schema import Field, Side, read_schema
from tests.training import tiny
from training.checkpoint import COLUMNS, check_out, describe, load_checkpoint, save_checkpoint
from training.config import read_recipe
from training.datasets.prepared import Prepared
from training.models import Ranker, build_model


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Ranker]:
    """A RUN folder and the model that it was written from."""
    data = Prepared.open(tiny.prepare(tmp_path / "data", tiny.schema(), rows=600))
    recipe = read_recipe("ple", assignments=["model.embedding=4"])
    model = build_model("ple", data.schema, recipe.model).eval()
    config = describe("ple", recipe, 3, "cpu", data, steps=9, interrupted=False)
    metrics = {"test": {"ctr": {"auc": None, "log_loss": 0.5, "calibration": 1.0, "rows": 2, "positives": 0}}}
    save_checkpoint(tmp_path / "run", model.state_dict(), config, data, data.matrices("validation"), metrics)  # type: ignore[arg-type]
    return tmp_path / "run", model


def test_a_checkpoint_scores_as_the_model_it_was(saved: tuple[Path, Ranker]) -> None:
    run, model = saved
    checkpoint = load_checkpoint(run)
    inputs = tiny.inputs(checkpoint.schema, items=9, requests=4)
    assert not checkpoint.model.training
    assert torch.equal(torch.stack(checkpoint.model(*inputs)), torch.stack(model(*inputs)))
    assert (checkpoint.config.seed, checkpoint.config.rows["test"], checkpoint.config.source) == (3, 600, "tiny")
    metrics = checkpoint.metrics["test"]["ctr"]
    assert "auc" in metrics
    assert metrics["auc"] is None
    assert checkpoint.path == run


def test_the_sample_is_the_first_512_validation_rows(saved: tuple[Path, Ranker]) -> None:
    run, _ = saved
    sample, matrices = load_checkpoint(run).sample(), Prepared.open(run.parent / "data").matrices("validation")
    for name in COLUMNS:
        assert np.array_equal(sample[name], getattr(matrices, name)[:512])


def test_dictionaries_come_along(saved: tuple[Path, Ranker]) -> None:
    run, _ = saved
    for file in (run.parent / "data" / "dictionaries").iterdir():
        assert (run / "dictionaries" / file.name).read_bytes() == file.read_bytes()


def lose_weights(run: Path) -> None:
    (run / "model.safetensors").unlink()


def cut_weights(run: Path) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def drop_a_weight(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    save_file({k: w for k, w in weights.items() if k != "towers.0.head.bias"}, run / "model.safetensors")


def grow_a_field(run: Path) -> None:
    schema = read_schema(run / "schema.json")
    fields = [f.model_copy(update={"size": f.size + 1}) if f.name == "user" else f for f in schema.fields]
    schema.model_copy(update={"fields": tuple(fields)}).save(run / "schema.json")


def change_the_schema(run: Path) -> None:
    tiny.schema([Field(name="other", side=Side.USER, size=3)]).save(run / "schema.json")


def change_the_recipe(run: Path) -> None:
    config = json.loads((run / "config.json").read_bytes())
    config["recipe"]["model"]["wings"] = 2
    (run / "config.json").write_text(json.dumps(config))


def lose_the_config(run: Path) -> None:
    (run / "config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_weights, r"model.safetensors: cannot be read"),
        (cut_weights, r"model.safetensors: cannot be read"),
        (drop_a_weight, r"'towers.0.head.bias' is absent where .* ask for \(1,\)"),
        (grow_a_field, r"'request.table.weight' is \(33, 4\) where .* ask for \(34, 4\)"),
        (change_the_schema, r"fingerprint differs"),
        (change_the_recipe, r"config.json: unknown key 'model.wings'"),
        (lose_the_config, r"not a training run"),
    ],
)
def test_damage_is_named(saved: tuple[Path, Ranker], damage: Callable[[Path], None], message: str) -> None:
    run, _ = saved
    damage(run)
    with pytest.raises(ConfigError, match=message):
        load_checkpoint(run)


def test_out_may_be_new_empty_or_a_run_but_nothing_else(saved: tuple[Path, Ranker], tmp_path: Path) -> None:
    run, _ = saved
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert check_out(run) == run
    assert check_out(tmp_path / "empty").name == "empty"
    assert check_out(tmp_path / "new").name == "new"
    with pytest.raises(ConfigError, match="is a file"):
        check_out(tmp_path / "file")
