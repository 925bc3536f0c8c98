"""A configuration as text: read, checked, and refused with origin and line where it is wrong."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from contract.errors import ConfigError
from service.experiments.config import Experiments
from service.experiments.document import Place, line, parse
from service.experiments.rules import mistakes


@dataclass(frozen=True)
class Source:
    """A configuration, the text that it was read from, and the line that each part stands on."""

    origin: str  # a file, a Redis key, or the request that brought it
    text: str
    config: Experiments
    lines: dict[Place, int]

    def where(self, place: Place) -> str:
        """`origin:line` of a place, or of what encloses it."""
        return f"{self.origin}:{line(self.lines, place)}"


def read_experiments(path: Path) -> Source:
    """Read and check a file; ConfigError names file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; set TWINSCORE_EXPERIMENTS") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return parse_experiments(text, str(path))


def parse_experiments(text: str, origin: str) -> Source:
    """Check a text; ConfigError names origin, line and rule."""
    content, lines = parse(text, origin)
    try:
        config = Experiments.model_validate(content)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # a misspelt key is also a missing one: the unknown one says it better
        first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
        known = {
            "extra_forbidden": "unknown key",
            "model_type": "takes keys and values",
            "dict_type": "takes keys and values",
        }
        message = known.get(first["type"], first["msg"].removeprefix("Value error, "))
        name = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{origin}:{line(lines, first['loc'])}: {name}: {message}") from None
    for place, message in mistakes(config):
        raise ConfigError(f"{origin}:{line(lines, place)}: {message}")
    return Source(origin, text, config, lines)
