"""Recipes: files, assignments, and what is said about a wrong one."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from training.config import RECIPES, parse_recipe, read_recipe
from training.models import MODELS
from training.models.dtn import DTNSettings
from training.models.ple import PLESettings


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_recipe_that_reads(model: str) -> None:
    recipe = read_recipe(model)
    assert isinstance(recipe.model, MODELS[model].settings)
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(MODELS)


def test_assignments_are_yaml_and_come_last(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: {embedding: 8, tower: [32]}\nepochs: 7\n")
    recipe = read_recipe("ple", file, ["model.tower=[16, 8]", "learning_rate=1.0e-4", "task_weights.cvr=2"])
    assert isinstance(recipe.model, PLESettings)
    assert (recipe.model.embedding, recipe.model.tower, recipe.epochs) == (8, (16, 8), 7)
    assert (recipe.learning_rate, recipe.task_weights) == (1e-4, {"cvr": 2.0})


def test_an_assignment_reaches_nested_settings_and_leaves_their_neighbours() -> None:
    recipe = read_recipe("dtn", assignments=["model.memonet.hashes=3", "model.gated_cross.rank=null"])
    assert isinstance(recipe.model, DTNSettings)
    assert recipe.model.memonet.hashes == 3
    assert recipe.model.memonet.code_book == 20_000
    assert recipe.model.gated_cross.rank is None


def test_a_recipe_survives_json() -> None:
    recipe = read_recipe("dtn", assignments=["model.preset=released", "model.memonet.fields=[a, b]"])
    assert parse_recipe("dtn", recipe.model_dump(mode="json"), "config.json") == recipe


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epoch=3", r"--set epoch=3: unknown key 'epoch'; known: model, batch_size, epochs"),
        ("model.widht=3", r"unknown key 'model.widht'; known: model.embedding, "),
        ("model.memonet.slots=3", r"unknown key 'model.memonet.slots'; known: model.memonet.fields, "),
        ("epochs=many", r"--set epochs=many: epochs: .*integer.*many"),
        ("model.dropout=1.5", r"--set model.dropout=1.5: model.dropout: .*less than 1"),
        ("model.modules=[transformer]", r"model.modules\[0\]: .*gated_cross"),
        ("model.preset=figure", r"model.preset: .*'paper' or 'released'"),
        ("epochs", r"write key=value"),
        ("epochs.many=3", r"'epochs' is a value"),
        ("epochs=[", r"not YAML"),
        ("model=3", r"--set model=3: model"),
    ],
)
def test_a_wrong_assignment_is_named(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_recipe("dtn", assignments=[assignment])


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a\n", "a recipe is a mapping"), ("a: [\n", "not a YAML recipe"), ("patience: 0\n", "mine.yaml: patience: ")],
)
def test_a_wrong_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_recipe("ple", tmp_path / "mine.yaml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such recipe"):
        read_recipe("ple", tmp_path / "mine.yaml")
