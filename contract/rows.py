"""Packed feature rows: one fixed-width little-endian record a user and one an item.

A row is int32 ids, then float32 numbers and weights, then one uint32 check word: a weighted sum of the words before
it, seeded with the schema's fingerprint. Any single changed word, and a row of another schema, is detected at numpy
speed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from contract.dictionary import Dictionary
from contract.encoding import encode_columns
from contract.schema import Field, Schema, Side


@dataclass(frozen=True)
class Rows:
    """Decoded rows as matrices; a missing or corrupt row holds the defaults."""

    ids: NDArray[np.int32]  # [n, slots]
    dense: NDArray[np.float32]  # [n, numbers]
    missing: NDArray[np.bool_]  # [n], absent or corrupt
    corrupt: int  # present, but of the wrong length or with the wrong check word


@dataclass(frozen=True)
class Layout:
    """How the fields of one side lie in a row, and what stands for a row that is missing."""

    fields: tuple[Field, ...]
    seed: int
    default_ids: NDArray[np.int32]  # [slots]
    default_dense: NDArray[np.float32]  # [numbers]

    @cached_property
    def width(self) -> int:
        """Bytes of one row, check word included."""
        return 4 * (len(self.default_ids) + len(self.default_dense) + 1)

    @cached_property
    def _weights(self) -> NDArray[np.uint32]:
        # odd weights are invertible modulo 2^32, so a change of one word always changes the sum
        words = np.arange(self.width // 4 - 1, dtype=np.uint32)
        return 2 * words * np.uint32(0x9E3779B1) + np.uint32(0x85EBCA77)

    def encode(self, ids: NDArray[np.int32], dense: NDArray[np.float32]) -> list[bytes]:
        """Rows of matrices [n, slots] and [n, numbers]; ValueError where the shapes do not fit the schema."""
        expected = (len(self.default_ids), len(self.default_dense))
        if ids.ndim != 2 or dense.ndim != 2 or len(ids) != len(dense) or (ids.shape[1], dense.shape[1]) != expected:
            raise ValueError(f"rows of shape {ids.shape} and {dense.shape} do not fit {expected} columns")
        words = np.hstack([ids.astype("<i4").view("<u4"), dense.astype("<f4").view("<u4")])
        packed = np.hstack([words, self._check(words)[:, None]]).tobytes()
        return [packed[start : start + self.width] for start in range(0, len(packed), self.width)]

    def decode(self, rows: Sequence[bytes | None]) -> Rows:
        """Matrices of stored rows (None: absent), defaults where a row is missing or corrupt."""
        if len(rows) == 1:
            return self._decode_one(rows[0])
        present = [row or b"" for row in rows]
        fits = np.fromiter(map(len, present), np.int64, len(rows)) == self.width
        words = np.frombuffer(b"".join(present if fits.all() else compress(present, fits)), "<u4")
        words = words.reshape(-1, self.width // 4)
        sound = self._check(words[:, :-1]) == words[:, -1]
        found = np.flatnonzero(fits)[sound]
        ids = np.tile(self.default_ids, (len(rows), 1))
        dense = np.tile(self.default_dense, (len(rows), 1))
        ids[found] = words[sound, : ids.shape[1]].view("<i4")
        dense[found] = words[sound, ids.shape[1] : -1].view("<f4")
        missing = np.ones(len(rows), bool)
        missing[found] = False
        return Rows(ids, dense, missing, int(missing.sum()) - rows.count(None))

    def _decode_one(self, row: bytes | None) -> Rows:
        """The same of one row, without the machinery for many."""
        words = np.frombuffer(row, "<u4") if row is not None and len(row) == self.width else None
        if words is None or self._check(words[None, :-1])[0] != words[-1]:
            absent = self.default_ids[None].copy(), self.default_dense[None].copy()
            return Rows(*absent, np.ones(1, bool), int(row is not None))
        ids = len(self.default_ids)
        return Rows(words[None, :ids].view("<i4").copy(), words[None, ids:-1].view("<f4").copy(), np.zeros(1, bool), 0)

    def _check(self, words: NDArray[np.uint32]) -> NDArray[np.uint32]:
        total: NDArray[np.uint32] = (words * self._weights).sum(axis=1, dtype=np.uint32) + np.uint32(self.seed)
        return total


def layout(schema: Schema, dictionaries: dict[str, Dictionary], *sides: Side) -> Layout:
    """The layout of these sides, defaults encoded; `dictionaries` are by field name."""
    fields = schema.on(*sides)
    defaults = [encode_columns(field, dictionaries, [None]) for field in fields]
    ids = np.concatenate([np.empty(0, np.int32), *(columns.ids[0] for columns in defaults)])
    dense = np.concatenate([np.empty(0, np.float32), *(columns.dense[0] for columns in defaults)])
    return Layout(fields, int(schema.fingerprint()[:8], 16), ids, dense)


def redis_key(prefix: str, fingerprint: str, generation: str, kind: str, key: str) -> str:
    """Where a row lives; `kind` is `u` or `i`, `generation` names one complete load of the tables."""
    return f"{prefix}:{fingerprint[:8]}:{generation}:{kind}:{key}"


def live_key(prefix: str, fingerprint: str) -> str:
    """Where the generation that readers must use is named; one SET of it switches every reader."""
    return f"{prefix}:{fingerprint[:8]}:live"


def scan_pattern(start: str) -> str:
    """The pattern of Redis' SCAN that matches every key that starts so, whatever signs are in it."""
    return re.sub(r"([*?\[\]^\\])", r"\\\1", start) + "*"
