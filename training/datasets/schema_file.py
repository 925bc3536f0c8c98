"""The YAML schema that a person writes: read with file and line in every error, and written."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from contract.errors import SchemaError, first_error
from contract.files import write_text
from contract.schema import Schema


def read_schema_file(path: Path) -> Schema:
    """Read a YAML schema; SchemaError names file and line."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SchemaError(f"{path}: no such file; `python -m training schema` drafts one from your data") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SchemaError(
            f"{path}:{mark.line + 1 if mark else 1}: not YAML: {error.problem or error.context}"
        ) from None
    except yaml.YAMLError as error:
        raise SchemaError(f"{path}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise SchemaError(f"{path}: empty, or not a mapping; `python -m training schema` drafts one from your data")
    _refuse_doubled_keys(path, node)
    try:
        return Schema.model_validate(content)
    except ValidationError as error:
        line = _line(node, error.errors()[0]["loc"])
        raise SchemaError(f"{path}:{line}: {first_error(error)}") from None


def write_schema_file(path: Path, schema: Schema) -> None:
    """Write a schema as YAML, defaults left out."""
    content = schema.model_dump(mode="json", exclude_defaults=True)
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _line(node: yaml.Node | None, place: tuple[int | str, ...]) -> int:
    """Line of the innermost node on the way to an error's place."""
    for part in place:
        inner = _child(node, part)
        if inner is None:
            break
        node = inner
    return node.start_mark.line + 1 if node else 1


def _child(node: yaml.Node | None, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: yaml.Node = node.value[part]
        return child
    return None


def _refuse_doubled_keys(path: Path, node: yaml.Node | None) -> None:
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_doubled_keys(path, child)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise SchemaError(f"{path}:{key.start_mark.line + 1}: key '{key.value}' appears twice; remove one")
            seen.add(key.value)
            _refuse_doubled_keys(path, value)
