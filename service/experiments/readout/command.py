"""Read an experiment out: `python -m service readout KEY`, from the sums as they are now.

Needs Redis (REDIS_URL, or the private one of `python -m service`) with what `python -m service outcomes` counted.
`python -m service readout truth` runs experiments whose truth is known through the same functions; see its --help.
"""

import argparse
import sys
import time

from redis import Redis
from redis.exceptions import RedisError

from contract.errors import ConfigError, StoreError
from contract.local_redis import redis_url
from service.experiments.readout.page import lines
from service.experiments.readout.readout import readout_of
from service.experiments.readout.report import Readout
from service.experiments.readout.stored import configuration, sums_of, weights_of
from service.settings import Settings, read_settings


def main(argv: list[str]) -> int:
    """Print a readout, or run the simulated truth."""
    if argv[:1] == ["truth"]:
        from service.experiments.readout.truth import main as truth

        return truth(argv[1:])
    asked = _arguments(argv)
    settings = read_settings()
    with redis_url(settings.redis_url) as url, _connect(url) as redis:
        try:
            readout = read(redis, settings, asked.key, asked.phase)
        except (RedisError, OSError) as error:
            raise StoreError(f"Redis at {url} cannot be read: {error}; set REDIS_URL") from None
    text = readout.model_dump_json(indent=2) if asked.json else "\n".join(lines(readout))
    sys.stdout.write(text + "\n")
    return 0


def read(redis: Redis, settings: Settings, key: str, phase: int | None) -> Readout:
    """The readout as of now; ConfigError where there is no such experiment, StoreError where nothing was counted."""
    prefix = settings.redis_prefix
    source = configuration(redis, prefix, settings.experiments)
    experiment = source.config.experiment(key)
    if experiment is None:
        known = ", ".join(each.key for _, each in source.config.placed()) or "none"
        raise ConfigError(f"{source.origin}: no experiment '{key}'; known: {known}")
    sums = sums_of(redis, prefix, experiment, phase)
    if sums is None:
        which = f"phase {phase} of '{key}'" if phase is not None else f"'{key}'"
        raise StoreError(f"nothing was counted of {which} yet; run `python -m service outcomes`")
    return readout_of(sums, experiment, source.config.version, time.time(), weights_of(redis, prefix, sums))


def _arguments(argv: list[str]) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m service readout", description=__doc__, formatter_class=form)
    parser.add_argument("key", metavar="KEY", help="of the experiment")
    parser.add_argument("--phase", type=int, metavar="N", help="default: the newest that was counted")
    parser.add_argument("--json", action="store_true", help="as GET /experiments/KEY/readout sends it")
    return parser.parse_args(argv)


def _connect(url: str) -> Redis:
    try:
        return Redis.from_url(url)
    except ValueError as error:
        raise ConfigError(f"REDIS_URL: {error}") from None
