"""`experiments.yaml`: read, checked, and refused with file and line where it is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, StrictInt, ValidationError

from contract.errors import ConfigError
from contract.schema import Name, Strict

SLOTS = 10_000
Place = tuple[str | int, ...]
ModelReference = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*(@[A-Za-z0-9_][A-Za-z0-9_.\-]*)?$")]


class Arm(Strict):
    """One of the alternatives: which model, and how many of 10,000 enrolled users."""

    name: Name
    model: ModelReference
    weight: StrictInt = Field(ge=0, le=SLOTS)


class Experiment(Strict):
    """Slots of its layer, divided among arms by a salt of its own."""

    key: Name
    phase: StrictInt = Field(default=1, ge=1)
    salt: Name
    slots: tuple[tuple[StrictInt, StrictInt], ...] = Field(min_length=1)  # half-open
    arms: tuple[Arm, ...] = Field(min_length=1)
    overrides: dict[str, str] = Field(default={})  # user id: arm


class Layer(Strict):
    """Experiments that exclude each other: a user's slot is in one of them at most."""

    name: Name
    salt: Name
    experiments: tuple[Experiment, ...] = ()


class Experiments(Strict):
    """The whole configuration."""

    version: StrictInt = Field(ge=1)
    default_model: ModelReference
    layers: tuple[Layer, ...] = ()

    def models(self) -> dict[str, Place]:
        """Every model reference, and the place that names it first."""
        places: dict[str, Place] = {self.default_model: ("default_model",)}
        for place, experiment in _experiments(self):
            for i, arm in enumerate(experiment.arms):
                places.setdefault(arm.model, (*place, "arms", i, "model"))
        return places


@dataclass(frozen=True)
class Source:
    """A configuration and the line that each part of it stands on."""

    path: Path
    config: Experiments
    lines: dict[Place, int]

    def where(self, place: Place) -> str:
        """`file:line` of a place, or of what encloses it."""
        return f"{self.path}:{_line(self.lines, place)}"


def read_experiments(path: Path) -> Source:
    """Read and check; ConfigError names file and line."""
    content, lines = _parse(path)
    try:
        config = Experiments.model_validate(content)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # a misspelt key is also a missing one: the unknown one says it better
        first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        name = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{path}:{_line(lines, first['loc'])}: {name}: {message}") from None
    for place, message in _mistakes(config):
        raise ConfigError(f"{path}:{_line(lines, place)}: {message}")
    return Source(path, config, lines)


def _line(lines: dict[Place, int], place: Place) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


class _Loader(yaml.SafeLoader):
    """YAML with the line of each node; aliases are refused, since a value must stand on one line."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lines: dict[Place, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.get_mark()
            raise yaml.MarkedYAMLError(None, None, "aliases are not used here", mark)
        return super().compose_node(parent, index)

    def plain(self, node: yaml.Node, place: Place = ()) -> object:
        """The value of a node; keys are taken as they are written."""
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(child, (*place, i)) for i, child in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self.construct_object(node)
        content: dict[str, object] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in content:
                raise yaml.MarkedYAMLError(None, None, "a key that is no text, or appears twice", key.start_mark)
            self.lines[*place, key.value] = key.start_mark.line + 1
            content[key.value] = self.plain(child, (*place, key.value))
        return content


def _parse(path: Path) -> tuple[object, dict[Place, int]]:
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        return (loader.plain(node) if node else None), loader.lines
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; set TWINSCORE_EXPERIMENTS") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{path}:{mark.line + 1 if mark else 1}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None


def _experiments(config: Experiments) -> Iterator[tuple[Place, Experiment]]:
    for i, layer in enumerate(config.layers):
        for j, experiment in enumerate(layer.experiments):
            yield ("layers", i, "experiments", j), experiment


def _mistakes(config: Experiments) -> Iterator[tuple[Place, str]]:
    """What the types cannot say, in the order of the file."""
    if len(config.layers) > 1:
        yield ("layers", 1), "a second layer: its arms would choose a model beside those of the first; use one layer"
    keys: set[str] = set()
    for place, experiment in _experiments(config):
        if experiment.key in keys:
            yield (*place, "key"), f"experiment '{experiment.key}' appears twice"
        keys.add(experiment.key)
        yield from _mistakes_of_arms(place, experiment)
    for i, layer in enumerate(config.layers):
        yield from _mistakes_of_slots(("layers", i), layer)


def _mistakes_of_arms(place: Place, experiment: Experiment) -> Iterator[tuple[Place, str]]:
    names = [arm.name for arm in experiment.arms]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield (*place, "arms", i, "name"), f"arm '{name}' appears twice in '{experiment.key}'"
    if (total := sum(arm.weight for arm in experiment.arms)) != SLOTS:
        yield (*place, "arms"), f"the weights of '{experiment.key}' sum to {total}; they must sum to {SLOTS}"
    for user, arm_name in experiment.overrides.items():
        if arm_name not in names:
            yield (*place, "overrides", user), f"override of '{user}': no arm '{arm_name}' ({', '.join(names)})"


def _mistakes_of_slots(place: Place, layer: Layer) -> Iterator[tuple[Place, str]]:
    taken: list[tuple[int, int, str]] = []
    for j, experiment in enumerate(layer.experiments):
        here = (*place, "experiments", j)
        if experiment.salt == layer.salt:
            yield (
                (*here, "salt"),
                f"the salt of '{experiment.key}' is the layer's: arms would follow slots; choose another",
            )
        for k, (start, stop) in enumerate(experiment.slots):
            if not 0 <= start < stop <= SLOTS:
                yield (
                    (*here, "slots", k),
                    f"slots [{start}, {stop}] of '{experiment.key}' are empty or outside 0..{SLOTS}",
                )
            for first, last, other in taken:
                if start < last and first < stop:
                    yield (*here, "slots", k), f"slots [{start}, {stop}] of '{experiment.key}' overlap '{other}'"
            taken.append((start, stop, experiment.key))
