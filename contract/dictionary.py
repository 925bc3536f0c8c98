"""Value → dense id, append-only: an id never changes its meaning; 0 is missing or unseen.

A dictionary is its values' UTF-8 bytes end to end in id order, their offsets, and a sorted table of hashes: about 17
bytes an entry beside the text. Look-ups are vectorised and exact: a hash match is confirmed by its bytes.
"""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from contract.errors import DictionaryError
from contract.files import whole_file
from contract.hashing import hash_all, hash_words
from contract.texts import FEW, Matrix, Words, matrices, matrix_of
from contract.texts import Texts as Texts

MAX_VALUE_BYTES = 128  # longer values are known by their digest
_SEARCHED = 500  # look-ups that a binary search each is faster for than several passes over all

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
    if len(keys) > FEW:
        return hash_texts(Texts.of(keys), buckets)
    _, words, lengths = matrix_of(keys)
    return _buckets(hash_words(words, lengths), lengths, buckets)


def hash_texts(texts: Texts, buckets: int) -> NDArray[np.int32]:
    """`hash_ids` of keys, [n]."""
    return _buckets(hash_all(texts), texts.lengths, buckets)


def _buckets(hashes: NDArray[np.uint64], lengths: NDArray[np.int64], buckets: int) -> NDArray[np.int32]:
    ids = (hashes % np.uint64(buckets)).astype(np.int32) + np.int32(1)
    return np.where(lengths > 0, ids, np.int32(0))


class Dictionary:
    """Immutable; `extended` returns a longer one."""

    def __init__(self, index: "_Index", lineage: str) -> None:
        self._index, self.lineage = index, lineage

    @classmethod
    def build(cls, counts: Mapping[str, int], min_count: int = 1) -> Self:
        """First build: values seen at least `min_count` times, most frequent first, ties by value."""
        kept = sorted((-count, key_bytes(value)) for value, count in counts.items() if count >= min_count)
        return cls.ordered(Texts.of(list(dict.fromkeys(key for _, key in kept))))

    @classmethod
    def ordered(cls, texts: Texts) -> Self:
        """First build: keys in id order; empty ones, and those that an earlier one equals, are left out."""
        index = _distinct(texts)
        digest = hashlib.sha256(index.words.texts.data.data)
        digest.update(index.words.texts.offsets.data)
        return cls(index, digest.hexdigest()[:16])

    def extended(self, values: Iterable[Value]) -> Self:
        """With the values it does not know yet appended, in the order given; known ids keep their meaning."""
        return self.extended_by(Texts.of([key_bytes(value) for value in values]))

    def extended_by(self, texts: Texts) -> Self:
        """`extended` by keys."""
        new = _distinct(texts.keep(self.encode_texts(texts) == 0)).words.texts
        if not new.size:
            return self
        return type(self)(_Index(Words(self.texts.followed_by(new))), self.lineage)

    def __len__(self) -> int:
        """Number of values, id 0 not counted."""
        return self.texts.size

    @property
    def size(self) -> int:
        """Ids are in [0, size)."""
        return len(self) + 1

    @property
    def texts(self) -> Texts:
        """Its keys in id order, the first one of id 1."""
        return self._index.words.texts

    @property
    def nbytes(self) -> int:
        """Memory of the entries."""
        return self._index.nbytes

    def encode(self, values: Iterable[Value]) -> NDArray[np.int32]:
        """Ids of raw values, [n]; 0 where missing or unseen."""
        keys = [key_bytes(value) for value in values]
        if len(keys) > FEW:
            return self.encode_texts(Texts.of(keys))
        return self._index.find_matrix(matrix_of(keys)) + np.int32(1)

    def encode_texts(self, texts: Texts) -> NDArray[np.int32]:
        """Ids of keys, [n]; 0 where missing or unseen."""
        return self._index.find(texts) + np.int32(1)

    def decode(self, ids: Iterable[int]) -> list[str | None]:
        """Values of ids; None for 0; IndexError for an id that was never given."""
        return [self._value(int(i)) for i in ids]

    def save(self, path: Path) -> None:
        """Write one `.npz`, whole."""
        with whole_file(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, text=self.texts.data, offsets=self.texts.offsets, lineage=np.array(self.lineage))

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
        return cls(_Index(Words(Texts(text, offsets))), lineage)

    def _value(self, i: int) -> str | None:
        if not 0 <= i < self.size:
            raise IndexError(f"id {i} is outside the dictionary's [0, {self.size})")
        start, stop = self.texts.offsets[i - 1 : i + 1] if i else (0, 0)
        return self.texts.data[start:stop].tobytes().decode("utf-8", "surrogatepass") or None


class _Index:
    """Finds texts by hash. An entry of its sorted table is the high bits of a hash, and in the low ones a place."""

    def __init__(self, words: Words) -> None:
        self.words = words
        places = words.texts.size
        self._low = np.uint64(2 ** places.bit_length() - 1)  # above every place
        self._table = np.full(places + 1, 2**64 - 1, np.uint64)  # its end is above every entry
        self._table[:-1] = hash_all(words.texts) & ~self._low
        self._table[:-1] |= np.arange(places, dtype=np.uint64)
        self._table.sort()
        bits = max(1, places.bit_length() - 2)  # hashes are even: some 4 to 8 entries begin with the same bits
        self._shift = np.uint64(64 - bits)
        starts = np.arange(2**bits, dtype=np.uint64) << self._shift
        self._first = np.searchsorted(self._table, starts).astype(np.int32)

    @property
    def nbytes(self) -> int:
        """Memory of texts, table and starts."""
        texts = self.words.texts
        return texts.data.nbytes + texts.offsets.nbytes + self._table.nbytes + self._first.nbytes

    def find(self, texts: Texts) -> NDArray[np.int32]:
        """The first place of each text, [n]; -1 where it has none or is empty."""
        places = np.empty(texts.size, np.int32)
        for matrix in matrices(texts):
            places[matrix.rows] = self.find_matrix(matrix)
        return places

    def find_matrix(self, texts: Matrix) -> NDArray[np.int32]:
        """`find`, [len(texts.words)]."""
        found = np.full(len(texts.lengths), -1, np.int32)
        high = hash_words(texts.words, texts.lengths) & ~self._low
        entry = self._entries(high)
        open_ = np.flatnonzero(texts.lengths)
        while len(open_):  # one round, but for hash collisions
            known = self._table[entry[open_]]
            place = known & self._low
            met = (known ^ place == high[open_]) & (place < self.words.texts.size)
            open_, place = open_[met], place[met].astype(np.int32)
            same = self._same(place, texts.words[open_], texts.lengths[open_])
            found[open_[same]] = place[same]
            open_ = open_[~same]
            entry[open_] += 1
        return found

    def _same(
        self, places: NDArray[np.int32], words: NDArray[np.uint64], lengths: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        known = self.words.matrix(places, lengths, words.shape[1])
        same: NDArray[np.bool_] = (self.words.lengths(places) == lengths) & (known == words).all(axis=1)
        return same

    def _entries(self, high: NDArray[np.uint64]) -> NDArray[np.intp]:
        """The first entry that is not below `high`, [n]."""
        if len(high) <= _SEARCHED:
            return np.searchsorted(self._table, high)
        entry: NDArray[np.intp] = self._first[high >> self._shift].astype(np.intp)
        open_ = np.arange(len(high))
        while len(open_):
            open_ = open_[self._table[entry[open_]] < high[open_]]
            entry[open_] += 1
        return entry

    def repeated(self) -> NDArray[np.int64]:
        """Places whose text stands at an earlier place, too."""
        high = self._table[:-1] & ~self._low
        alike = self._table[1:-1][high[1:] == high[:-1]] & self._low
        suspects = np.zeros(self.words.texts.size, np.bool_)
        suspects[alike.astype(np.intp)] = True
        places = np.flatnonzero(suspects)
        again: NDArray[np.int64] = places[self.find(self.words.texts.keep(suspects)) < places]
        return again


def _distinct(texts: Texts) -> _Index:
    """An index of texts without the empty ones, and without those that an earlier one equals."""
    index = _Index(Words(texts.keep(texts.lengths > 0)))
    repeated = index.repeated()
    if not len(repeated):
        return index
    chosen = np.ones(index.words.texts.size, np.bool_)
    chosen[repeated] = False
    return _Index(Words(index.words.texts.keep(chosen)))
