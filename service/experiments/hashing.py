"""Draws: a unit under a salt becomes a bucket, always the same one. A unit is hashed as UTF-8 by every algorithm.

    hash            what is hashed   32 bits                  slot                 arm's bucket
    murmur3         salt:unit        murmur3_x86_32, seed 0   (h * 10000) >> 32    as the slot
    growthbook_v2   saltunit         FNV-1a, twice            h % 10000            as the slot
    eppo_md5        salt-unit        md5, first 4 bytes       h % 10000            as the slot
    unleash         salt:unit        murmur3_x86_32, seed 0   (h % 100) * 100      seed 86028157, h % sum of weights

murmur3 is ours; the others give the buckets that clients of GrowthBook, Eppo and Unleash computed before. GrowthBook's
own clients in JavaScript hash UTF-16 units: ids outside ASCII meet other buckets there.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import md5
from itertools import accumulate

import mmh3

from service.experiments.config import SLOTS, Hash

UNLEASH_VARIANTS = 86_028_157  # Unleash's seed of the arm's draw, so that it does not follow the rollout's
_SEPARATOR: dict[Hash, str] = {"murmur3": ":", "growthbook_v2": "", "eppo_md5": "-", "unleash": ":"}


class Draw:
    """One salt under one algorithm; `hash(unit)` has 32 bits, `bucket(unit)` is in [0, total)."""

    hash: Callable[[str], int]
    bucket: Callable[[str], int]

    def __init__(self, algorithm: Hash, salt: str, total: int = SLOTS, seed: int = 0) -> None:
        self.algorithm, self.total = algorithm, total
        self._prefix = salt + _SEPARATOR[algorithm]
        self.hash = hash_of(algorithm, self._prefix, seed)
        self.bucket = _scaled_murmur3(self._prefix) if algorithm == "murmur3" else self._remainder

    def text(self, unit: str) -> str:
        """What is hashed."""
        return self._prefix + unit

    def _remainder(self, unit: str) -> int:
        return self.hash(unit) % self.total


def _scaled_murmur3(prefix: str) -> Callable[[str], int]:
    def bucket(unit: str) -> int:  # every request comes by here: no further call
        scaled: int = mmh3.hash(prefix + unit, 0, False) * SLOTS >> 32
        return scaled

    return bucket


class SlotDraw(Draw):
    """The draw of a layer's slot; Unleash's percents are the slots at every hundred."""

    def __init__(self, algorithm: Hash, salt: str) -> None:
        super().__init__(algorithm, salt)
        if algorithm == "unleash":
            self.bucket = lambda unit: self.hash(unit) % 100 * 100


class ArmDraw(Draw):
    """The draw of an experiment's arm, in [0, sum of weights)."""

    def __init__(self, algorithm: Hash, salt: str, weights: Sequence[int]) -> None:
        super().__init__(algorithm, salt, sum(weights), UNLEASH_VARIANTS if algorithm == "unleash" else 0)


def slot_of(salt: str, unit: str) -> int:
    """The murmur3 slot in [0, 10000) of a unit under a salt."""
    return SlotDraw("murmur3", salt).bucket(unit)


def arm_ranges(algorithm: Hash, weights: Sequence[int], coverage: int) -> list[tuple[int, int]]:
    """Buckets of each arm, half-open; growthbook_v2 leaves gaps where `coverage` is below 10,000."""
    if algorithm != "growthbook_v2":
        ends = list(accumulate(weights))
        return list(zip([0, *ends], ends, strict=False))
    ranges = growthbook_ranges([weight / SLOTS for weight in weights], coverage / SLOTS)
    return [(_first_bucket(start), _first_bucket(stop)) for start, stop in ranges]


def growthbook_ranges(weights: Sequence[float], coverage: float) -> list[tuple[float, float]]:
    """GrowthBook's ranges: each arm takes the first `coverage` of its share. In its floats: a user on an edge stays."""
    starts = [0.0, *accumulate(weights)]
    return [(start, start + coverage * weight) for start, weight in zip(starts, weights, strict=False)]


def _first_bucket(bound: float) -> int:
    """The first bucket at or above a bound in [0, 1], compared as GrowthBook does: bucket / 10000."""
    return bisect_left(range(SLOTS), bound, key=lambda bucket: bucket / SLOTS)


def hash_of(algorithm: Hash, prefix: str, seed: int) -> Callable[[str], int]:
    """The 32 bits of prefix + unit."""
    if algorithm == "eppo_md5":
        return lambda unit: int.from_bytes(md5((prefix + unit).encode(), usedforsecurity=False).digest()[:4], "big")
    if algorithm == "growthbook_v2":
        begun = _fnv1a(prefix.encode())  # it reads byte by byte: the salt's need to be read only once
        return lambda unit: _fnv1a(b"%d" % _fnv1a(unit.encode(), begun))
    return lambda unit: mmh3.hash(prefix + unit, seed, False)


def _fnv1a(data: bytes, begun: int = 0x811C9DC5) -> int:
    for byte in data:
        begun = (begun ^ byte) * 0x01000193 & 0xFFFFFFFF
    return begun
