"""Value → dense id, append-only: an id never changes its meaning; 0 is missing or unseen.

A dictionary is its values' UTF-8 bytes end to end in id order, their offsets, and a sorted table of 64-bit hashes:
about 20 bytes an entry beside the text. Look-ups are vectorised and exact: a hash match is confirmed by its bytes.
"""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from contract.errors import DictionaryError
from contract.files import whole_file
from contract.hashing import byte_matrix, hash_matrix, hash_values

MAX_VALUE_BYTES = 128  # longer values are known by their digest
_CHUNK = 65_536

Value = str | int | float | bool | None


def canonical(value: Value) -> str | None:
    """The one text form of a raw value, the same for CSV, Parquet and JSON; None where it is missing.

    42, 42.0 and "42" are one value; NaN, None and "" are missing.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def key_bytes(value: Value) -> bytes:
    """The bytes that stand for a value in dictionaries and hashes; b"" where it is missing."""
    text = canonical(value)
    raw = b"" if text is None else text.encode("utf-8", "surrogatepass")
    return raw if len(raw) <= MAX_VALUE_BYTES else b"sha256:" + hashlib.sha256(raw).hexdigest().encode()


def hash_ids(values: Iterable[Value], buckets: int) -> NDArray[np.int32]:
    """Ids 1..buckets by hashing, [n]; 0 where the value is missing."""
    keys = [key_bytes(value) for value in values]
    ids = (hash_values(keys) % np.uint64(buckets)).astype(np.int32) + np.int32(1)
    return np.where(np.fromiter(map(bool, keys), bool, len(keys)), ids, np.int32(0))


class Dictionary:
    """Immutable; `extended` returns a longer one."""

    def __init__(self, text: NDArray[np.uint8], offsets: NDArray[np.int64], lineage: str) -> None:
        self._text, self._offsets, self.lineage = text, offsets, lineage
        hashes = self._hash_all()
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)  # ids - 1, by hash
        self._hashes = hashes[self._order]

    @classmethod
    def build(cls, counts: Mapping[str, int], min_count: int = 1) -> Self:
        """First build: values seen at least `min_count` times, most frequent first, ties by value."""
        kept = sorted((-count, key_bytes(value)) for value, count in counts.items() if count >= min_count)
        keys = list(dict.fromkeys(key for _, key in kept if key))
        text, offsets = _pack(keys)
        digest = hashlib.sha256(text.tobytes() + offsets.tobytes()).hexdigest()
        return cls(text, offsets, digest[:16])

    def extended(self, values: Iterable[Value]) -> Self:
        """With the values it does not know yet appended, in the order given; known ids keep their meaning."""
        keys = list(dict.fromkeys(key for key in map(key_bytes, values) if key))
        new = [key for key, known in zip(keys, self._lookup(keys), strict=True) if not known]
        text, offsets = _pack(new)
        return type(self)(
            np.concatenate([self._text, text]),
            np.concatenate([self._offsets, self._offsets[-1] + offsets[1:]]),
            self.lineage,
        )

    def __len__(self) -> int:
        """Number of values, id 0 not counted."""
        return len(self._offsets) - 1

    @property
    def size(self) -> int:
        """Ids are in [0, size)."""
        return len(self) + 1

    @property
    def nbytes(self) -> int:
        """Memory of the entries."""
        return self._text.nbytes + self._offsets.nbytes + self._hashes.nbytes + self._order.nbytes

    def encode(self, values: Iterable[Value]) -> NDArray[np.int32]:
        """Ids of raw values, [n]; 0 where missing or unseen."""
        return self._lookup([key_bytes(value) for value in values])

    def decode(self, ids: Iterable[int]) -> list[str | None]:
        """Values of ids; None for 0; IndexError for an id that was never given."""
        return [self._value(int(i)) for i in ids]

    def save(self, path: Path) -> None:
        """Write one `.npz`, whole."""
        with whole_file(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, text=self._text, offsets=self._offsets, lineage=np.array(self.lineage))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; DictionaryError where it is absent or damaged."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                text, offsets, lineage = content["text"], content["offsets"], str(content["lineage"])
        except FileNotFoundError:
            raise DictionaryError(f"{path}: no such dictionary; prepare the data again") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DictionaryError(f"{path}: not a dictionary or damaged ({error}); prepare the data again") from None
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(text) or (np.diff(offsets) <= 0).any():
            raise DictionaryError(f"{path}: offsets do not fit the text; the file is damaged, prepare the data again")
        return cls(text, offsets, lineage)

    def _value(self, i: int) -> str | None:
        if not 0 <= i < self.size:
            raise IndexError(f"id {i} is outside the dictionary's [0, {self.size})")
        return self._key(i - 1).decode("utf-8", "surrogatepass") if i else None

    def _key(self, index: int) -> bytes:
        return self._text[self._offsets[index] : self._offsets[index + 1]].tobytes()

    def _hash_all(self) -> NDArray[np.uint64]:
        starts = range(0, len(self), _CHUNK)
        parts = [hash_values([self._key(i) for i in range(s, min(s + _CHUNK, len(self)))]) for s in starts]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def _lookup(self, keys: Sequence[bytes]) -> NDArray[np.int32]:
        parts = [self._lookup_chunk(keys[s : s + _CHUNK]) for s in range(0, len(keys), _CHUNK)]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def _lookup_chunk(self, keys: Sequence[bytes]) -> NDArray[np.int32]:
        ids = np.zeros(len(keys), np.int32)
        if not len(self):
            return ids
        matrix, lengths = byte_matrix(keys)
        hashes = hash_matrix(matrix, lengths)
        place = np.searchsorted(self._hashes, hashes)
        open_ = np.flatnonzero((place < len(self)) & (lengths > 0))
        while len(open_):  # one round, but for hash collisions
            open_ = open_[self._hashes[place[open_]] == hashes[open_]]
            index = self._order[place[open_]]
            same = self._same_bytes(index, matrix[open_], lengths[open_])
            ids[open_[same]] = index[same] + 1
            open_ = open_[~same]
            place[open_] += 1
            open_ = open_[place[open_] < len(self)]
        return ids

    def _same_bytes(
        self, index: NDArray[np.int32], matrix: NDArray[np.uint8], lengths: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        start, stop = self._offsets[index], self._offsets[index + 1]
        column = np.arange(matrix.shape[1])
        position = np.minimum(start[:, None] + column, len(self._text) - 1)
        text = np.where(column < (stop - start)[:, None], self._text[position], 0)  # [n, width]
        result: NDArray[np.bool_] = (stop - start == lengths) & (text == matrix).all(axis=1)
        return result


def _pack(keys: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    offsets = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, keys), np.int64, len(keys)), out=offsets[1:])
    return np.frombuffer(b"".join(keys), np.uint8), offsets
