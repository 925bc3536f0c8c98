"""A record as it was read: where it stood, its bytes, and what they say where they can be counted."""

from typing import Any, NamedTuple

import orjson

MOST_VALUE = 10**15  # millionths: a thousand million of an event
Offset = int | str
Position = dict[str, Offset]  # part of the log (a file, a partition): where to go on

_EVENT = (("time", int), ("user", str), ("id", str))
_FIELDS: dict[str, tuple[tuple[str, type], ...]] = {
    "exposure": (
        ("time", int), ("user", str), ("key", str), ("phase", int), ("arm", str), ("served", str), ("model", str),
        ("reason", str), ("config", int),
    ),
    "click": _EVENT,
    "conversion": _EVENT,
    "value": _EVENT,
    "dropped": (("counts", dict),),
}  # fmt: skip


class Entry(NamedTuple):
    """One record; `record` is None where it is no such thing, and is then only archived."""

    part: str
    offset: Offset  # where to go on after it
    raw: bytes
    record: dict[str, Any] | None
    lane: str = ""  # what orders a producer's records, where the whole log does not: a partition


def entry(part: str, offset: Offset, raw: bytes, lane: str = "") -> Entry:
    """Read a record."""
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        record = None
    return Entry(part, offset, raw, record if _whole(record) else None, lane)


def _whole(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("producer"), str):
        return False
    fields = _FIELDS.get(str(record.get("kind")))
    if fields is None or not isinstance(record.get("number"), int):
        return False
    for name, kind in fields:
        if not isinstance(record.get(name), kind):
            return False
    return _options(record)


def _options(record: dict[str, Any]) -> bool:
    """What may be there."""
    value, predicted = record.get("value", 0), record.get("predicted", 0)
    if not isinstance(value, int) or abs(value) > MOST_VALUE or not isinstance(predicted, int):
        return False
    if record["kind"] == "dropped":
        return all(name.count("/") == 2 and isinstance(count, int) for name, count in record["counts"].items())
    return isinstance(record.get("segments", {}), dict)
