"""Moments in time → hours and weekdays: ISO 8601 texts and epoch numbers, for prepare and the service alike.

An epoch number counts seconds, milliseconds or microseconds, which its magnitude tells: all three agree until 5138.
"""

import re
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?))? ?(?:Z|([+-]\d{2})(?::?(\d{2}))?)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_MILLISECONDS, _MICROSECONDS = 1e11, 1e14  # from these on, a number counts them
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds: the years 1 to 9999
_DAY = 86_400
_MONDAY = 3  # 1 January 1970 was a Thursday
_BLOCK = 900  # seconds: no zone of our days changes its offset within a quarter of an hour


def epoch_seconds(value: object) -> int | None:
    """Whole seconds since 1970 in UTC, rounded down, of a text or number; None where it is no time."""
    if isinstance(value, str):
        text = value.strip()
        return _iso_seconds(text) if not _NUMBER.fullmatch(text) else epoch_seconds(float(text))
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:
        return None
    unit = 1 if abs(value) < _MILLISECONDS else 1_000 if abs(value) < _MICROSECONDS else 1_000_000
    seconds = int(value // unit)
    return seconds if _FIRST <= seconds <= _LAST else None


def hours(seconds: NDArray[np.int64], timezone: str | None) -> NDArray[np.int64]:
    """Hours of the day there, 0 to 23."""
    return _local(seconds, timezone) // 3600 % 24


def weekdays(seconds: NDArray[np.int64], timezone: str | None) -> NDArray[np.int64]:
    """Days of the week there: 0 is Monday, 6 is Sunday."""
    return (_local(seconds, timezone) // _DAY + _MONDAY) % 7


@cache
def zone(name: str) -> ZoneInfo | None:
    """A zone of the IANA database; None where this machine knows none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _local(seconds: NDArray[np.int64], timezone: str | None) -> NDArray[np.int64]:
    """Seconds as the clocks there show them."""
    if timezone is None or timezone == "UTC":
        return seconds
    blocks, places = np.unique(seconds // _BLOCK, return_inverse=True)
    there = zone(timezone)
    offsets = [_offset(int(block) * _BLOCK, there) for block in blocks]
    return seconds + np.array(offsets, np.int64)[places]


def _offset(seconds: int, there: ZoneInfo | None) -> int:
    known = min(max(seconds, _FIRST + _DAY), _LAST - _DAY)  # local times too must lie in the years of datetime
    offset = datetime.fromtimestamp(known, UTC).astimezone(there).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _iso_seconds(text: str) -> int | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    day, clock, hours_off, minutes_off = found.groups()
    try:
        local = datetime.fromisoformat(f"{day}T{(clock or '00:00').partition('.')[0]}+00:00")
    except ValueError:
        return None
    minutes = 60 * int(hours_off or 0)
    minutes += int(minutes_off or 0) * (-1 if hours_off and hours_off[0] == "-" else 1)
    return int(local.timestamp()) - 60 * minutes
