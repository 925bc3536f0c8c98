"""The JSON file from which a peer, that cannot import `contract`, knows the model and how rows are packed."""

import json
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError

from contract.bundle import read_bundle
from contract.errors import StoreError
from contract.files import write_text
from contract.rows import Layout, layout, live_key, redis_key
from contract.schema import Side
from loadtest.floors import Source


def write_spec(source: Source, path: Path) -> None:
    """Write what `scorer.Scorer` reads; StoreError where no rows of the model are live."""
    bundle = read_bundle(source.bundle)
    content: dict[str, Any] = {"model": str(bundle.model_path.resolve()), "redis": source.redis}
    for side in Side:
        content[side.value] = _described(layout(bundle.schema, bundle.dictionaries, side))
    content[Side.USER.value]["keys"], content[Side.ITEM.value]["keys"] = user_keys(source), item_keys(source)
    write_text(path, json.dumps(content) + "\n")


def user_keys(source: Source) -> str:
    """How every key of a user's row starts."""
    return _start(source, "u")


def item_keys(source: Source) -> str:
    """How every key of an item's row starts."""
    return _start(source, "i")


def _start(source: Source, kind: str) -> str:
    fingerprint = read_bundle(source.bundle).manifest.fingerprint
    try:
        live = cast(bytes | None, Redis.from_url(source.redis).get(live_key(source.prefix, fingerprint)))
    except RedisError as error:
        raise StoreError(f"{source.redis}: {error}") from None
    if live is None:
        raise StoreError(f"{source.redis}: no rows of this model under '{source.prefix}'; load them: python -m export")
    return redis_key(source.prefix, fingerprint, live.decode(), kind, "")


def _described(side: Layout) -> dict[str, Any]:
    return {
        "ids": side.default_ids.tolist(),
        "dense": [float(value) for value in side.default_dense],
        "seed": side.seed,
    }
