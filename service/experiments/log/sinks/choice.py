"""The sink that TWINSCORE_LOG names."""

import re
from pathlib import Path

from contract.errors import ConfigError
from service.experiments import keys
from service.experiments.log.sinks import Sink
from service.experiments.log.sinks.file import FileSink
from service.experiments.log.sinks.redis import RedisSink
from service.settings import Settings

_FORMS = "file:FOLDER, redis, redis://host:port/db, kafka://host:port/topic, or off"
_KAFKA = re.compile(r"kafka://([^/\s]+:\d+)/([A-Za-z0-9._\-]{1,249})")
_REDIS = ("redis://", "rediss://", "unix://")


def sink_of(settings: Settings, producer: str) -> Sink | None:
    """None where nothing is kept; ConfigError names TWINSCORE_LOG."""
    asked = settings.log
    if asked == "off":
        return None
    if asked == "redis":
        return _redis("redis", settings.redis_url or "", settings)
    if asked.startswith(_REDIS):
        return _redis(re.sub(r"//.*@", "//", asked), asked, settings)  # its name is shown: without a password
    if asked.startswith("file:") and len(asked) > len("file:"):
        return FileSink(Path(asked.removeprefix("file:")), producer)
    if match := _KAFKA.fullmatch(asked):
        return _kafka(match[1], match[2])
    raise ConfigError(f"TWINSCORE_LOG={asked}: write {_FORMS}")


def _redis(name: str, url: str, settings: Settings) -> Sink:
    try:
        return RedisSink(name, url, keys.log(settings.redis_prefix), settings.log_length)
    except ValueError as error:
        raise ConfigError(f"TWINSCORE_LOG={name}: {error}") from None


def _kafka(servers: str, topic: str) -> Sink:
    from service.experiments.log.sinks.kafka import KafkaSink

    try:
        return KafkaSink(servers, topic)
    except ImportError:
        raise ConfigError(
            "TWINSCORE_LOG=kafka://…: needs aiokafka: `pip install aiokafka`, or the extra `kafka`"
        ) from None
