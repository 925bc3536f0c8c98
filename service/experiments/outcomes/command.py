"""Count exposures and events: `python -m service outcomes`, until SIGTERM.

It reads the log that TWINSCORE_LOG names, keeps sums per arm and readouts in Redis (REDIS_URL, or the private one of
`python -m service`), and archives every record as Parquet in TWINSCORE_ARCHIVE. Killed at any point it loses nothing
and counts nothing twice. Of several, one counts and the others stand by.

  outcomes --once                count what is there, read out, and end
  outcomes status                how far it is, and what it counted
  outcomes recompute --check     the sums again from the archive; exit status 1 where they differ from the live ones
  outcomes recompute --write     and put them in place of the live ones
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from contract.errors import ConfigError, StoreError
from contract.local_redis import redis_url
from service.settings import Settings, read_settings


def main(argv: list[str]) -> int:
    """Run one of the commands; exit status."""
    asked = _arguments(argv)
    settings = read_settings()
    if asked.config is not None:
        settings = settings.model_copy(update={"experiments": asked.config})
    command = _command(asked)
    with redis_url(settings.redis_url) as url, _connect(url) as redis:
        return command(redis, settings)


def _command(asked: argparse.Namespace) -> Callable[[Redis, Settings], int]:
    try:
        if asked.word == "status":
            from service.experiments.outcomes.status import show

            return show
        if asked.word == "recompute":
            from service.experiments.outcomes.recompute import recompute

            return lambda redis, settings: recompute(redis, settings, write=asked.write)
        from service.experiments.outcomes.running import run

        return lambda redis, settings: run(redis, settings, once=asked.once)
    except ModuleNotFoundError as error:
        raise ConfigError(f"needs {error.name}: install the extra `experiments`") from None


def _arguments(argv: list[str]) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m service outcomes", description=__doc__, formatter_class=form)
    parser.add_argument("word", nargs="?", choices=("run", "status", "recompute"), default="run", help="default: run")
    parser.add_argument("--once", action="store_true", help="run: count what is there, and end")
    parser.add_argument("--check", action="store_true", help="recompute: compare alone, which is the default")
    parser.add_argument("--write", action="store_true", help="recompute: replace the live sums")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="experiments that the history does not have; TWINSCORE_EXPERIMENTS"
    )
    asked = parser.parse_args(argv)
    if asked.once and asked.word != "run":
        parser.error("--once belongs to run")
    if (asked.check or asked.write) and asked.word != "recompute":
        parser.error("--check and --write belong to recompute")
    if asked.check and asked.write:
        parser.error("--check or --write, not both")
    return asked


def _connect(url: str) -> Redis:
    try:
        redis = Redis.from_url(url)
        redis.ping()
    except ValueError as error:
        raise ConfigError(f"REDIS_URL: {error}") from None
    except (RedisError, OSError) as error:
        raise StoreError(f"Redis at {url} cannot be reached: {error}; set REDIS_URL") from None
    return redis
