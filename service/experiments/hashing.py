"""Draws: a unit under a salt becomes a bucket, always the same one."""

from collections.abc import Callable

import mmh3

from service.experiments.config import SLOTS

Draw = Callable[[str], int]


def murmur3(salt: str, unit: str) -> int:
    """murmur3_x86_32, seed 0, of UTF-8 `salt:unit`, unsigned."""
    return mmh3.hash(f"{salt}:{unit}".encode(), 0, signed=False)


def slot_of(salt: str, unit: str) -> int:
    """The slot in [0, 10000) of a unit under a salt."""
    return (murmur3(salt, unit) * SLOTS) >> 32
