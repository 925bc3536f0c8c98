"""Raw values of one field → ids, numbers and weights: the one place where prepare and the service make rows of values.

Vectorised parts that prepare calls itself: `quantile_ids`, `time_ids`, `heaviest`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.dictionary import Dictionary, Value, hash_ids
from contract.field import NOW, TIMED
from contract.moments import epoch_seconds, hours, weekdays
from contract.schema import Encoding, Field, Kind

Raw = Value | Sequence[Value] | Sequence[Sequence[Value]] | Mapping[str, float]

_LARGEST = float(np.finfo(np.float32).max)
_PAIRS = "{value: weight}, or a list of [value, weight] pairs, with finite weights"


class Columns(NamedTuple):
    """What a field fills in a row."""

    ids: NDArray[np.int32]  # [n, slots]
    dense: NDArray[np.float32]  # [n, numbers]


def encode_columns(
    field: Field, dictionaries: Mapping[str, Dictionary], values: Sequence[Raw], now: float | None = None
) -> Columns:
    """Raw values of a field of any kind; None takes the field's default.

    `now`, in seconds since 1970, stands for the default 'now'; without it that is id 0. A cross is id 0 until
    contract.crossing fills it in. Raises ValueError, naming field and value, where a value is of the wrong kind.
    """
    if field.weights:
        return _weighted(field, dictionaries, values)
    encoded = encode_field(field, dictionaries, values, now)
    if field.kind is Kind.NUMERIC:
        return Columns(np.empty((len(values), 0), np.int32), encoded.astype(np.float32, copy=False)[:, None])
    return Columns(encoded.astype(np.int32, copy=False), np.empty((len(values), 0), np.float32))


def encode_field(
    field: Field, dictionaries: Mapping[str, Dictionary], values: Sequence[Raw], now: float | None = None
) -> NDArray[np.int32] | NDArray[np.float32]:
    """Ids [n, slots], or numbers [n] of a numeric field; of a weighted one the ids alone. All else as above."""
    given = [field.default if value is None else value for value in values]
    if field.kind is Kind.NUMERIC:
        return np.array([_number(field, value) for value in given], np.float32)
    if field.kind is Kind.CATEGORICAL:
        return _codes(field, dictionaries, [_scalar(field, value) for value in given], now)[:, None]
    if field.weights:
        return _weighted(field, dictionaries, values).ids
    lists = [_list(field, value)[: field.slots] for value in given]
    ids = np.zeros((len(lists), field.slots), np.int32)
    owner = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    place = np.fromiter((i for values in lists for i in range(len(values))), np.int64, len(owner))
    ids[owner, place] = _codes(field, dictionaries, [value for values in lists for value in values])
    return ids


def quantile_ids(field: Field, numbers: NDArray[np.float32]) -> NDArray[np.int32]:
    """1 + how many edges are not above each number [n]; 0 for NaN. Compared as float32, which numbers are stored in."""
    edges = np.array(field.edges or (), np.float32)
    ids = 1 + np.searchsorted(edges, numbers.astype(np.float32, copy=False), side="right")
    return np.where(np.isnan(numbers), 0, ids).astype(np.int32)


def time_ids(field: Field, seconds: NDArray[np.float64]) -> NDArray[np.int32]:
    """1 + hour or weekday of each moment [n], in seconds since 1970 in UTC; 0 for NaN."""
    missing = np.isnan(seconds)
    whole = np.floor(np.where(missing, 0, seconds)).astype(np.int64)
    parts = (hours if field.encoding is Encoding.HOUR else weekdays)(whole, field.timezone)
    return np.where(missing, 0, 1 + parts).astype(np.int32)


def heaviest(
    owner: NDArray[np.int64], weights: NDArray[np.float32], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which elements of lists are kept, heaviest first and equal ones in their order, and the place of each.

    `owner` [elements] is the row that each element belongs to, `most` how many a row keeps.
    """
    order = np.lexsort((-weights, owner))
    rows = owner[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < most
    return order[kept], place[kept]


def _weighted(field: Field, dictionaries: Mapping[str, Dictionary], values: Sequence[Raw]) -> Columns:
    lists = [_pairs(field, field.default if value is None else value) for value in values]
    flat = [pair for pairs in lists for pair in pairs]
    owner = np.repeat(np.arange(len(lists)), [len(pairs) for pairs in lists])
    given = np.array([weight for _, weight in flat], np.float32)
    kept, place = heaviest(owner, given, field.slots)
    ids, weights = np.zeros((len(lists), field.slots), np.int32), np.zeros((len(lists), field.slots), np.float32)
    ids[owner[kept], place] = _codes(field, dictionaries, [flat[i][0] for i in kept.tolist()])
    weights[owner[kept], place] = given[kept]
    return Columns(ids, weights)


def _codes(
    field: Field, dictionaries: Mapping[str, Dictionary], values: Sequence[Value], now: float | None = None
) -> NDArray[np.int32]:
    if field.encoding is Encoding.DICTIONARY:
        return dictionaries[field.name].encode(values)
    if field.encoding is Encoding.QUANTILE:
        given = [np.nan if value is None else _number(field, value) for value in values]
        return quantile_ids(field, np.array(given, np.float32))
    if field.encoding in TIMED:
        return time_ids(field, np.array([_seconds(field, value, now) for value in values], np.float64))
    if field.cross and any(value is not None for value in values):
        raise ValueError(f"field '{field.name}' is computed; send {' and '.join(field.cross)} instead")
    return hash_ids(values, field.buckets or 1)


def _number(field: Field, value: object, takes: str = "a finite number") -> float:
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise ValueError(f"field '{field.name}' takes {takes}, not {_shown(value)}")
    return float(value)


def _seconds(field: Field, value: Value, now: float | None) -> float:
    if value is None or value == NOW:
        return float("nan") if value is None or now is None else now
    seconds = epoch_seconds(value)
    if seconds is None:
        takes = f"{NOW}, ISO 8601 (2026-01-31T12:00:00Z) or an epoch number"
        raise ValueError(f"field '{field.name}' takes a time, {takes}, not {_shown(value)}")
    return seconds


def _scalar(field: Field, value: Raw) -> Value:
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"field '{field.name}' takes one value, not {_shown(value)}")


def _list(field: Field, value: Raw) -> list[Value]:
    if value is None or isinstance(value, str | int | float):
        value = [] if value is None else str(value).split(field.separator)
    if isinstance(value, Mapping | bytes):
        raise ValueError(f"field '{field.name}' takes a list of values, not {_shown(value)}")
    return [_part(field, part, value) for part in value]


def _pairs(field: Field, value: Raw) -> list[tuple[Value, float]]:
    """Values and their weights, of {value: weight} or [[value, weight], ...]; 1 where none are given."""
    if isinstance(value, Mapping):
        pairs: list[Any] = list(value.items())
    elif value is None or isinstance(value, str | int | float) or not any(isinstance(p, list | tuple) for p in value):
        return [(part, 1.0) for part in _list(field, value)]
    else:
        pairs = list(value)
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 and pair[1] is not None for pair in pairs):
        raise ValueError(f"field '{field.name}' takes {_PAIRS}, not {_shown(value)}")
    return [(_part(field, part, value), _number(field, weight, _PAIRS)) for part, weight in pairs]


def _part(field: Field, part: object, value: Raw) -> Value:
    if part is None or isinstance(part, str | int | float):
        return part
    raise ValueError(f"field '{field.name}' takes a list of values, not {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
