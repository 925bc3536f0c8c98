"""Values changed within a configuration's text: all else, comments too, stays as somebody wrote it."""

import json
from collections.abc import Mapping
from typing import cast

import yaml

from contract.errors import ConfigError
from service.experiments.config import Experiments
from service.experiments.document import Place

Value = bool | int | float | str


def edited(text: str, changes: Mapping[Place, Value]) -> str:
    """The text with these values; a key that is not there is added to its mapping, which must be."""
    for place, value in changes.items():
        start, end, written = _edit(text, place, value)
        text = text[:start] + written + text[end:]
    return text


def renumbered(text: str, version: int) -> str:
    """The same configuration as another version."""
    return edited(text, {("version",): version})


def killed(text: str, config: Experiments, key: str, version: int) -> str:
    """A new version in which nobody is assigned by this experiment."""
    place = next(place for place, experiment in config.placed() if experiment.key == key)
    return edited(text, {("version",): version, (*place, "killed"): True})


def _edit(text: str, place: Place, value: Value) -> tuple[int, int, str]:
    """What to replace by what."""
    written = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, allow_unicode=True).split("\n")[0]
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None or (parent := _find(root, place[:-1])) is None:
        raise ConfigError(f"nothing at {'.'.join(map(str, place))} to edit")
    if isinstance(root, yaml.MappingNode) and root.flow_style and isinstance(value, str):
        written = json.dumps(value, ensure_ascii=False)  # it might be JSON, and this is YAML too
    if (node := _find(parent, place[-1:])) is not None:
        return node.start_mark.index, node.end_mark.index, written
    mapping = cast(yaml.MappingNode, parent)
    keys = [key for key, _ in mapping.value]
    before = keys[min(1, len(keys) - 1)].start_mark  # the first key names what it is
    if mapping.flow_style:
        return before.index, before.index, f'"{place[-1]}": {written}, '
    return before.index, before.index, f"{place[-1]}: {written}\n{' ' * before.column}"


def _find(node: yaml.Node, place: Place) -> yaml.Node | None:
    for part in place:
        sequence = isinstance(node, yaml.SequenceNode)
        children = dict(enumerate(node.value)) if sequence else {key.value: child for key, child in node.value}
        if part not in children:
            return None
        node = children[part]
    return node
