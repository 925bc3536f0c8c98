"""What is loaded: the user and item ids in Redis, and the schema, dictionaries and tasks of the bundles."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from contract.bundle import Bundle, latest_version, read_bundle
from contract.dictionary import Dictionary
from contract.errors import BundleError, ConfigError, StoreError
from contract.local_redis import redis_url
from contract.rows import live_key, redis_key, scan_pattern
from contract.schema import Schema, Task


@dataclass(frozen=True)
class Catalogue:
    """Ids that have rows (empty for a side that stores none), and how to make features for them."""

    users: list[str]
    items: list[str]
    schema: Schema
    dictionaries: dict[str, Dictionary]
    tasks: dict[str, tuple[Task, ...]]  # by model


def read_catalogue(bundles: Path, url: str, prefix: str, most: int) -> Catalogue:
    """Read at most `most` ids a side; BundleError or StoreError where there is nothing to ask for."""
    if most < 1:
        raise ConfigError(f"--ids {most}: must be at least 1")
    found = _latest_bundles(bundles)
    tasks = {bundle.manifest.model: _tasks(bundle) for bundle in found}
    with redis_url(url or None) as address:
        try:
            with Redis.from_url(address) as redis:
                bundle, generation = _live(redis, address, prefix, found)
                users, items = (_ids(redis, prefix, bundle, generation, kind, most) for kind in "ui")
        except (RedisError, ValueError) as error:  # ValueError: a URL that is none
            raise StoreError(f"Redis at {address}: {error}; set --redis to the one that the service reads") from None
    keyed = bundle.schema.user_key or bundle.schema.item_key
    if keyed and not users and not items:
        raise StoreError(f"Redis at {address}: generation {generation} holds no rows; run `python -m export features`")
    return Catalogue(users, items, bundle.schema, bundle.dictionaries, tasks)


def _latest_bundles(root: Path) -> list[Bundle]:
    models = sorted({manifest.parent.parent.name for manifest in root.glob("[!.]*/[!.]*/manifest.json")})
    if not models:
        raise BundleError(f"{root}: no bundles; name the folder that the service serves with --bundles")
    return [read_bundle(latest_version(root, model)) for model in models]


def _tasks(bundle: Bundle) -> tuple[Task, ...]:
    return tuple(task for task in bundle.schema.tasks if task.name in bundle.manifest.tasks)


def _live(redis: Redis, address: str, prefix: str, bundles: list[Bundle]) -> tuple[Bundle, str]:
    """The first bundle whose rows are loaded, and the generation that readers use."""
    for bundle in bundles:
        generation = redis.get(live_key(prefix, bundle.manifest.fingerprint))
        if isinstance(generation, bytes):
            return bundle, generation.decode()
    schemas = ", ".join(sorted({bundle.manifest.fingerprint[:8] for bundle in bundles}))
    raise StoreError(
        f"Redis at {address}: nothing is loaded under prefix '{prefix}' for schema {schemas}; "
        "run `python -m export features`, or name the Redis that the service reads with --redis"
    )


def _ids(redis: Redis, prefix: str, bundle: Bundle, generation: str, kind: str, most: int) -> list[str]:
    """Ids of one side, sorted, so that a seed gives the same popularity on every run."""
    start = redis_key(prefix, bundle.manifest.fingerprint, generation, kind, "")
    keys = islice(redis.scan_iter(match=scan_pattern(start), count=5_000), most)
    return sorted({key.decode().removeprefix(start) for key in keys})
