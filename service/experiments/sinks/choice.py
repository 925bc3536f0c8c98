"""The sink that TWINSCORE_LOG names."""

from pathlib import Path

from contract.errors import ConfigError
from service.experiments.sinks import Sink
from service.experiments.sinks.file import FileSink
from service.settings import Settings

_FORMS = "file:FOLDER, redis, redis://host:port/db, kafka://host:port/topic, or off"


def sink_of(settings: Settings, producer: str) -> Sink | None:
    """None where nothing is kept; ConfigError names TWINSCORE_LOG."""
    scheme, _, rest = settings.log.partition(":")
    if settings.log == "off":
        return None
    if scheme == "file" and rest:
        return FileSink(Path(rest), producer)
    raise ConfigError(f"TWINSCORE_LOG={settings.log}: write {_FORMS}")
