"""Recipes: all settings of a run, from YAML and `--set key=value`; a typo is one line that names the known keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field as Attribute
from pydantic import SerializeAsAny, ValidationError

from contract.errors import ConfigError, first_error
from contract.schema import Strict
from training.models import ModelSettings, model_entry

RECIPES = Path(__file__).parent / "recipes"


class Recipe(Strict):
    """How a model is trained. `patience` counts validations without improvement; decays are AdamW's, decoupled."""

    model: SerializeAsAny[ModelSettings]
    batch_size: int = Attribute(default=1024, ge=1)
    epochs: int = Attribute(default=3, ge=1)
    validations_per_epoch: int = Attribute(default=2, ge=1)
    patience: int = Attribute(default=2, ge=1)
    learning_rate: float = Attribute(default=1e-3, gt=0)
    weight_decay: float = Attribute(default=0.0, ge=0)
    table_decay: float = Attribute(default=0.0, ge=0)  # of embedding tables and code books
    task_weights: dict[str, float] = Attribute(default_factory=dict)  # of the loss; 1 where not named


def read_recipe(model: str, path: Path | None = None, assignments: Sequence[str] = ()) -> Recipe:
    """The recipe in a file (default: recipes/<model>.yaml), with `key=value` assignments over it."""
    settings = model_entry(model).settings
    path = RECIPES / f"{model}.yaml" if path is None else path
    content = _read_yaml(path)
    _validated(content, settings, str(path))
    for assignment in assignments:
        _assign(content, assignment)
        _validated(content, settings, f"--set {assignment}")
    return _validated(content, settings, str(path))


def parse_recipe(model: str, content: Mapping[str, object], where: str) -> Recipe:
    """A recipe from decoded JSON or YAML; ConfigError names the place and the key."""
    return _validated(content, model_entry(model).settings, where)


def _validated(content: Mapping[str, object], settings: type[ModelSettings], where: str) -> Recipe:
    try:
        chosen = settings.model_validate(content.get("model") or {})
    except ValidationError as error:
        raise ConfigError(f"{where}: {_told(error, settings, 'model.')}") from None
    try:
        return Recipe.model_validate({**content, "model": chosen})
    except ValidationError as error:
        raise ConfigError(f"{where}: {_told(error, Recipe, '')}") from None


def _told(error: ValidationError, owner: type[Strict], prefix: str) -> str:
    """The first error; for an unknown key also the known ones."""
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return prefix + first_error(error)
    parents, key = first["loc"][:-1], first["loc"][-1]
    for part in parents:
        inner = owner.model_fields[str(part)].annotation
        owner = inner if isinstance(inner, type) and issubclass(inner, Strict) else owner
    place = prefix + "".join(f"{part}." for part in parents)
    return f"unknown key '{place}{key}'; known: {', '.join(place + name for name in owner.model_fields)}"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a YAML recipe: {error}") from None
    if not isinstance(content, dict | None):
        raise ConfigError(f"{path}: a recipe is a mapping of keys to values, not {type(content).__name__}")
    return content or {}


def _assign(content: dict[str, Any], assignment: str) -> None:
    """Set one dotted key, as `model.width=32`; the value is read as YAML."""
    key, separator, text = assignment.partition("=")
    *parents, last = key.strip().split(".")
    if not separator or not last:
        raise ConfigError(f"--set {assignment}: write key=value, as in --set epochs=5 or --set model.embedding=32")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {assignment}: the value is not YAML; quote it") from None
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {assignment}: '{parent}' is a value and has no keys below it")
    content[last] = value
