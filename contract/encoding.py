"""Raw values of one field → ids or numbers: the one place where prepare and the service turn values into rows."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.dictionary import Dictionary, Value, hash_ids
from contract.schema import Encoding, Field, Kind

Raw = Value | Sequence[Value]

_LARGEST = float(np.finfo(np.float32).max)


def encode_field(
    field: Field, dictionaries: Mapping[str, Dictionary], values: Sequence[Raw]
) -> NDArray[np.int32] | NDArray[np.float32]:
    """Raw values as ids [n, slots], or numbers [n] for a numeric field; None takes the field's default.

    Raises ValueError, naming field and value, where a value is of the wrong kind.
    """
    given = [field.default if value is None else value for value in values]
    if field.kind is Kind.NUMERIC:
        return np.array([_number(field, value) for value in given], np.float32)
    if field.kind is Kind.CATEGORICAL:
        return _codes(field, dictionaries, [_scalar(field, value) for value in given])[:, None]
    lists = [_list(field, value) for value in given]
    ids = np.zeros((len(lists), field.slots), np.int32)
    owner = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    place = np.fromiter((i for values in lists for i in range(len(values))), np.int64, len(owner))
    ids[owner, place] = _codes(field, dictionaries, [value for values in lists for value in values])
    return ids


def _codes(field: Field, dictionaries: Mapping[str, Dictionary], values: Sequence[Value]) -> NDArray[np.int32]:
    if field.encoding is Encoding.HASH and field.buckets is not None:
        return hash_ids(values, field.buckets)
    return dictionaries[field.name].encode(values)


def _number(field: Field, value: Raw) -> float:
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise ValueError(f"field '{field.name}' takes a finite number, not {_shown(value)}")
    return float(value)


def _scalar(field: Field, value: Raw) -> Value:
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"field '{field.name}' takes one value, not {_shown(value)}")


def _list(field: Field, value: Raw) -> list[Value]:
    if value is None or isinstance(value, str | int | float):
        value = [] if value is None else str(value).split(field.separator)
    if isinstance(value, Mapping | bytes) or any(not isinstance(v, str | int | float | None) for v in value):
        raise ValueError(f"field '{field.name}' takes a list of values, not {_shown(value)}")
    return list(value[: field.slots])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
