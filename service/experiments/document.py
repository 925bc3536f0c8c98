"""YAML with the line of each part, for messages that name it."""

import yaml

from contract.errors import ConfigError

Place = tuple[str | int, ...]


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
            return self._scalar(node)
        content: dict[str, object] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in content or _lone(key.value):
                raise yaml.MarkedYAMLError(None, None, "a key that is no text, or appears twice", key.start_mark)
            self.lines[*place, key.value] = key.start_mark.line + 1
            content[key.value] = self.plain(child, (*place, key.value))
        return content

    def _scalar(self, node: yaml.Node) -> object:
        try:
            value = self.construct_object(node)
        except ValueError as error:  # the 31st of February
            raise yaml.MarkedYAMLError(None, None, str(error), node.start_mark) from None
        if _lone(value):
            raise yaml.MarkedYAMLError(None, None, "half a surrogate pair is no text", node.start_mark)
        return value


def _lone(value: object) -> bool:
    """Whether a text cannot be written as UTF-8: an escape has made half a surrogate pair."""
    return isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)


def parse(text: str, origin: str) -> tuple[object, dict[Place, int]]:
    """Content and lines; ConfigError as `origin:line: what` where it is not YAML."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return (loader.plain(node) if node else None), loader.lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{origin}:{mark.line + 1 if mark else 1}: not valid YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{origin}:{number}: not valid YAML: {error.reason}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{origin}:1: not valid YAML: {' '.join(str(error).split())}") from None


def line(lines: dict[Place, int], place: Place) -> int:
    """The line of a place, or of what encloses it."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)
