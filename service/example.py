"""One request to copy: a curl for /score that works on what is loaded."""

import asyncio
import json
import shlex
from collections.abc import Iterator
from itertools import islice
from statistics import median_low
from typing import Any

from redis.exceptions import RedisError

from contract.dictionary import Dictionary
from contract.field import NOW, TIMED
from contract.rows import live_key, redis_key, scan_pattern
from contract.schema import Encoding, Field, Kind, Schema, Side
from service.lifecycle import Service
from service.scoring.registry import Model

_ITEMS = 3
_FIELDS = 3  # inline features a side
_SECONDS = 2.0


async def example_curl(service: Service, address: str) -> str:
    """A curl with real ids where feature tables are loaded, else with inline features."""
    model = service.models[service.source.config.default_model].model
    user, items = await _stored_ids(service, model)
    body: dict[str, Any] = {}
    if user is not None:
        body["user"] = {"id": user}
    if items:
        body["item_ids"] = items
    elif user is None:
        body = inline_example(model)
    else:
        body["item_ids"] = ["i1"]
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    return f"curl -s {address}/score -H 'Content-Type: application/json' -d {data}"


async def _stored_ids(service: Service, model: Model) -> tuple[str | None, list[str]]:
    """A user and a few items of the live generation; nothing where Redis is empty, slow or down."""
    fingerprint, prefix, redis = model.manifest.fingerprint, service.settings.redis_prefix, service.store.features
    users: list[str] = []
    items: list[str] = []
    if redis is None:
        return None, []
    try:
        async with asyncio.timeout(_SECONDS):
            live = await redis.get(live_key(prefix, fingerprint))
            if not isinstance(live, bytes):
                return None, []
            for kind, found, wanted in (("u", users, 1), ("i", items, _ITEMS)):
                base = redis_key(prefix, fingerprint, live.decode(), kind, "")
                async for key in redis.scan_iter(match=scan_pattern(base), count=10_000):
                    found.append(key.decode(errors="replace").removeprefix(base))
                    if len(found) == wanted:
                        break
    except (TimeoutError, RedisError, OSError):
        pass
    return (users[0] if users else None), items


def inline_example(model: Model) -> dict[str, Any]:
    """A body for /score that needs no stored rows: some features of every side."""
    schema, dictionaries = model.bundle.schema, model.bundle.dictionaries
    sides = {
        side: {field.name: _value(field, dictionaries) for field in islice(_sent(schema, side), _FIELDS)}
        for side in Side
    }
    body: dict[str, Any] = {"items": [{"id": "i1", "features": sides[Side.ITEM] | sides[Side.CROSS]}]}
    if sides[Side.USER]:
        body["user"] = {"features": sides[Side.USER]}
    if sides[Side.CONTEXT]:
        body["context"] = sides[Side.CONTEXT]
    return body


def _sent(schema: Schema, side: Side) -> Iterator[Field]:
    return (field for field in schema.on(side) if not field.cross)


def _value(field: Field, dictionaries: dict[str, Dictionary]) -> object:
    """A value that this field knows."""
    if field.kind is Kind.NUMERIC:
        return round(field.mean, 3)
    if field.encoding is Encoding.QUANTILE:
        return median_low(field.edges or (0.0,))
    if field.encoding in TIMED:
        return NOW
    known = field.encoding is Encoding.DICTIONARY and len(dictionaries[field.name]) > 0
    value = dictionaries[field.name].decode([1])[0] if known else "a"
    if field.weights:
        return {str(value): 1.0}
    return [value] if field.kind is Kind.MULTI else value
