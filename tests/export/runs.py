"""Untrained models, and folders of runs as training writes them."""

from pathlib import Path

import torch

from contract.schema import Schema
from tests.training import tiny
from training.checkpoint import describe, save_checkpoint
from training.config import read_recipe
from training.datasets.prepared import Prepared
from training.models import MODELS, build_model
from training.models.ranker import Ranker

SMALL = ["model.embedding=4", "model.tower=[8]"]
SMALLER = dict.fromkeys(MODELS, SMALL) | {
    "mmoe": [*SMALL, "model.expert_layers=[8]"],
    "ple": [*SMALL, "model.expert_layers=[8]"],
    "stem": [*SMALL, "model.expert_layers=[8]", "model.levels=2"],
    "dtn": [*SMALL, "model.width=8", "model.memonet.code_book=50", "model.gated_cross.rank=4"],
}


def untrained(name: str, schema: Schema) -> Ranker:
    torch.manual_seed(1)
    return build_model(name, schema, read_recipe(name, None, SMALLER[name]).model)


def run_folder(folder: Path, name: str, schema: Schema | None = None) -> Path:
    data = Prepared.open(tiny.prepare(folder / "data", schema or tiny.schema()))
    recipe = read_recipe(name, None, SMALLER[name])
    config = describe(name, recipe, 0, "cpu", data, steps=1, interrupted=False)
    weights = untrained(name, data.schema).state_dict()
    metrics = {split: {t.name: {"auc": 0.5} for t in data.schema.tasks} for split in ("validation", "test")}
    save_checkpoint(folder / "run", weights, config, data, data.matrices("validation"), metrics)  # type: ignore[arg-type]
    return folder / "run"
