"""Recipes: all settings of a run, from YAML and `--set key=value`; a typo is one line that names the known keys."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field as Attribute
from pydantic import SerializeAsAny, ValidationError, model_validator

from contract.errors import ConfigError, first_error
from contract.schema import Strict
from training.models import ModelSettings, model_entry
from training.schedule import Shape

RECIPES = Path(__file__).parent / "recipes"


TableOptimiser = Literal["adamw", "rowwise_adagrad", "sparse_adam"]
Precision = Literal["auto", "fp32", "bf16"]


class Recipe(Strict):
    """How a model is trained."""

    model: SerializeAsAny[ModelSettings]
    batch_size: int = Attribute(default=1024, ge=1, description="rows a step, over all processes")
    epochs: int = Attribute(default=3, ge=1, description="times that every row is met")
    validations_per_epoch: int = Attribute(default=2, ge=1, description="evenly over the epoch, the last at its end")
    patience: int = Attribute(default=2, ge=1, description="validations without improvement before it stops")
    learning_rate: float = Attribute(default=1e-3, gt=0, description="of AdamW, at its height")
    weight_decay: float = Attribute(default=0.0, ge=0, description="of AdamW, decoupled")
    table_optimiser: TableOptimiser = Attribute(
        default="adamw",
        description="of weights looked up by id; others than adamw touch only rows met",
    )
    table_learning_rate: float | None = Attribute(default=None, gt=0, description="theirs; as learning_rate if null")
    table_decay: float = Attribute(default=0.0, ge=0, description="their decay; rowwise_adagrad: of the rows met")
    schedule: Shape = Attribute(default="constant", description="of the learning rates; down to 0 at the end")
    warmup_steps: int = Attribute(default=0, ge=0, description="steps in which the learning rates rise from 0")
    clip_norm: float | None = Attribute(default=None, gt=0, description="largest norm of all gradients together")
    task_weights: dict[str, float] = Attribute(default_factory=dict, description="of the losses; 1 where not named")
    task_weight_decay: dict[str, float] = Attribute(default_factory=dict, description="factor an epoch; 1 if not named")
    uncertainty_weighting: bool = Attribute(default=False, description="learn a factor a task from its uncertainty")
    precision: Precision = Attribute(default="auto", description="of matrix products; auto: bf16 on CUDA, else fp32")
    compile: bool = Attribute(default=False, description="torch.compile; CUDA only, pays from minutes of training on")
    memory_rows: int = Attribute(default=20_000_000, ge=0, description="a split with more rows is streamed from disk")
    shuffle_rows: int = Attribute(default=1_048_576, ge=1, description="rows mixed at once while streaming")

    @model_validator(mode="after")
    def _tables_agree(self) -> "Recipe":
        if self.table_optimiser == "sparse_adam" and self.table_decay:
            raise ValueError("table_decay: sparse_adam has no decay; take adamw or rowwise_adagrad, or leave it 0")
        if self.table_optimiser != "adamw" and self.compile:
            raise ValueError(f"compile: torch.compile has no sparse gradients; {self.table_optimiser} needs them")
        return self


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


def recipe_help() -> str:
    """The recipe's keys with their defaults, a line each; the model's own come from its file."""
    lines = ["recipe keys (--set KEY=VALUE, or YAML; model.* are in training/models):"]
    for name, field in Recipe.model_fields.items():
        if field.description:
            default = json.dumps(field.get_default(call_default_factory=True)).strip('"')
            lines.append(f"  {name:<22} {default:<10} {field.description}")
    return "\n".join(lines)


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
