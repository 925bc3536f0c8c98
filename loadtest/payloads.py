"""Requests for POST /score, drawn from what is loaded."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contract.dictionary import Dictionary
from contract.field import TIMED
from contract.schema import Encoding, Field, Kind, Side
from loadtest.catalogue import Catalogue
from loadtest.popularity import Popularity
from loadtest.workload import Workload

_POOL = 256  # raw values kept a field
_INVENTED = {"user": 10_000, "item": 2_000}  # ids where a side stores no rows

_WEEK = 1_767_571_200, 7 * 86_400  # begins on Monday 5 January 2026

Raw = str | float | list[str] | dict[str, float]


@dataclass(frozen=True)
class Request:
    """A body, and what its reply must echo."""

    body: str
    item_ids: list[str]


class Payloads:
    """Draws requests; safe to share, each caller brings its own generator."""

    def __init__(self, catalogue: Catalogue, workload: Workload) -> None:
        self._workload = workload
        self.tasks, self.seed = catalogue.tasks, workload.seed
        rng = np.random.default_rng(workload.seed)
        self._users = Popularity(catalogue.users or _invented("user"), workload.exponent, rng)
        self._items = Popularity(catalogue.items or _invented("item"), workload.exponent, rng)
        fields = catalogue.schema.fields
        pools = {field.name: _pool(field, catalogue.dictionaries, rng) for field in fields if not field.cross}
        self._pools = {
            side: {field.name: pools[field.name] for field in catalogue.schema.on(side) if not field.cross}
            for side in (Side.USER, Side.CONTEXT, Side.ITEM, Side.CROSS)
        }

    def draw(self, rng: np.random.Generator) -> Request:
        """One request."""
        inline = rng.random() < self._workload.inline
        item_ids = self._items.distinct(rng, self._workload.candidates.draw(rng))
        item_ids = [self._perhaps_unknown(rng, item_id) for item_id in item_ids]
        user: dict[str, object] = {"id": self._perhaps_unknown(rng, self._users.one(rng))}
        body: dict[str, object] = {"user": user}
        if context := self._features(rng, 1, Side.CONTEXT)[0]:
            body["context"] = context
        if inline:
            user["features"] = self._features(rng, 1, Side.USER)[0]
            features = self._features(rng, len(item_ids), Side.ITEM, Side.CROSS)
            body["items"] = [{"id": i, "features": f} for i, f in zip(item_ids, features, strict=True)]
        else:
            body["item_ids"] = item_ids
        return Request(json.dumps(body), item_ids)

    def _perhaps_unknown(self, rng: np.random.Generator, known: str) -> str:
        return f"unknown-{rng.integers(1 << 40):x}" if rng.random() < self._workload.unknown else known

    def _features(self, rng: np.random.Generator, count: int, *sides: Side) -> list[dict[str, Raw]]:
        pools = {name: pool for side in sides for name, pool in self._pools[side].items()}
        columns = [[pool[i] for i in rng.integers(len(pool), size=count)] for pool in pools.values()]
        return [dict(zip(pools, row, strict=True)) for row in zip(*columns, strict=True)] or [{}] * count


def _invented(side: str) -> list[str]:
    return [f"{side}-{i}" for i in range(_INVENTED[side])]


def _pool(field: Field, dictionaries: dict[str, Dictionary], rng: np.random.Generator) -> Sequence[Raw]:
    """Raw values of a field, as a caller would send them."""
    if field.kind is Kind.NUMERIC:
        drawn = rng.normal(field.mean, field.scale, _POOL)  # mean and scale are those after the transform
        raw: list[float] = (np.expm1(drawn.clip(0, 80)) if field.transform == "log1p" else drawn).tolist()
        return raw
    if field.encoding is Encoding.QUANTILE:
        edges = field.edges or (0.0,)
        return [edges[0] - 1, *edges]  # a value in each bucket
    if field.encoding in TIMED:
        return [float(_WEEK[0] + moment) for moment in rng.integers(_WEEK[1], size=_POOL)]
    values = _values(field, dictionaries)
    if field.kind is Kind.CATEGORICAL:
        return values
    lengths = rng.integers(1, field.slots + 1, _POOL)
    lists = [[values[i] for i in rng.integers(len(values), size=length)] for length in lengths]
    if field.weights:
        return [dict(zip(some, rng.exponential(size=len(some)).tolist(), strict=True)) for some in lists]
    return lists


def _values(field: Field, dictionaries: dict[str, Dictionary]) -> list[str]:
    """The most frequent values of a dictionary; made-up ones where ids are hashes, or none are known."""
    known = dictionaries.get(field.name)
    decoded = known.decode(range(1, min(known.size, _POOL + 1))) if known else []
    return [value for value in decoded if value is not None] or [f"value-{i}" for i in range(_POOL)]
