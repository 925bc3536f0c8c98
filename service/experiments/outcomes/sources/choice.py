"""The source of what TWINSCORE_LOG names."""

import re
from pathlib import Path

from redis import Redis

from contract.errors import ConfigError
from service.experiments import keys
from service.experiments.outcomes.sources import LogSource
from service.experiments.outcomes.sources.file import FileSource
from service.experiments.outcomes.sources.redis import RedisSource
from service.settings import Settings

_FORMS = "file:FOLDER, redis, redis://host:port/db or kafka://host:port/topic"
_KAFKA = re.compile(r"kafka://([^/\s]+:\d+)/([A-Za-z0-9._\-]{1,249})")
_REDIS = ("redis://", "rediss://", "unix://")


def source_of(settings: Settings, redis: Redis) -> LogSource:
    """ConfigError names TWINSCORE_LOG; `redis` is where the outcomes are kept."""
    asked, key = settings.log, keys.log(settings.redis_prefix)
    if asked == "off":
        raise ConfigError("TWINSCORE_LOG=off: there is no log to count")
    if asked == "redis":
        return RedisSource("redis", redis, key)
    if asked.startswith(_REDIS):
        name = re.sub(r"//.*@", "//", asked)  # its name is shown: without a password
        try:
            return RedisSource(name, Redis.from_url(asked), key)
        except ValueError as error:
            raise ConfigError(f"TWINSCORE_LOG={name}: {error}") from None
    if asked.startswith("file:") and len(asked) > len("file:"):
        return FileSource(Path(asked.removeprefix("file:")))
    if match := _KAFKA.fullmatch(asked):
        return _kafka(match[1], match[2])
    raise ConfigError(f"TWINSCORE_LOG={asked}: write {_FORMS}")


def _kafka(servers: str, topic: str) -> LogSource:
    try:
        from service.experiments.outcomes.sources.kafka import KafkaSource
    except ImportError:
        raise ConfigError(
            "TWINSCORE_LOG=kafka://…: needs aiokafka: `pip install aiokafka`, or the extra `kafka`"
        ) from None
    return KafkaSource(servers, topic)
