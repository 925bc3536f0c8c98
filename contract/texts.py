"""Many texts in two arrays, and their bytes eight at a time: what dictionaries and hashes are vectorised over.

Nothing here is as wide as the longest text: column after column of eight bytes, only the texts that reach that far are
touched.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

_TAIL = np.zeros(7, np.uint8)  # the last byte of a text begins a word, too
_MASKS = np.array([2 ** (8 * n) - 1 for n in range(9)], np.uint64)  # that keep the first n bytes of a word

Rows = NDArray[np.intp] | slice
_ALL = slice(None)


class Texts(NamedTuple):
    """UTF-8 bytes end to end, and their offsets [n + 1]; an empty text is a missing value.

    Every text is a key as `key_bytes` gives it. `len` of it is 2, as of any pair: `size` counts.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> Self:
        """Keys put end to end."""
        offsets = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, keys), np.int64, len(keys)), out=offsets[1:])
        return cls(np.frombuffer(b"".join(keys), np.uint8), offsets)

    @property
    def size(self) -> int:
        """How many."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each, [n]."""
        return self.offsets[1:] - self.offsets[:-1]

    def blocks(self, rows: int) -> Iterator[Self]:
        """All of them, `rows` at a time; no bytes are copied."""
        for start in range(0, self.size, rows):
            offsets = self.offsets[start : start + rows + 1]
            yield type(self)(self.data[offsets[0] : offsets[-1]], offsets - offsets[0])

    def keep(self, chosen: NDArray[np.bool_]) -> Self:
        """Those that are `chosen` [n], in their order."""
        if chosen.all():
            return self
        lengths = self.lengths
        offsets = np.zeros(int(chosen.sum()) + 1, np.int64)
        np.cumsum(lengths[chosen], out=offsets[1:])
        return type(self)(self.data[np.repeat(chosen, lengths)], offsets)

    def followed_by(self, other: Self) -> Self:
        """Both, one after the other."""
        return type(self)(
            np.concatenate([self.data, other.data]),
            np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
        )


class Words:
    """Texts as little-endian words of eight bytes, the last one of each text filled up with zeros."""

    def __init__(self, texts: Texts) -> None:
        padded = np.concatenate([texts.data, _TAIL])
        self.texts = Texts(padded[: len(texts.data)], texts.offsets)
        self._starts, self._stops = texts.offsets[:-1], texts.offsets[1:]
        self._at: NDArray[np.uint64] = np.ndarray(len(texts.data), "<u8", padded, strides=(1,))  # the word at each byte

    def lengths(self, rows: Rows = _ALL) -> NDArray[np.int64]:
        """Bytes of the texts `rows`."""
        return self._stops[rows] - self._starts[rows]

    def column(self, column: int, rows: Rows) -> NDArray[np.uint64]:
        """Word `column` of the texts `rows`, which must all reach that far."""
        place = self._starts[rows] + 8 * column
        words: NDArray[np.uint64] = self._at[place] & _MASKS[np.minimum(self._stops[rows] - place, 8)]
        return words

    def columns(self) -> Iterator[tuple[int, Rows]]:
        """Each column with the texts that reach it."""
        lengths = self.lengths()
        shortest = int(lengths.min(initial=1 << 62))
        for column in range(-(-int(lengths.max(initial=0)) // 8)):
            yield column, _ALL if shortest > 8 * column else np.flatnonzero(lengths > 8 * column)

    def equal(self, rows: NDArray[np.intp], other: "Words", others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether text `rows[i]` is text `others[i]` of `other`, [len(rows)]."""
        lengths = self.lengths(rows)
        same: NDArray[np.bool_] = lengths == other.lengths(others)
        open_ = np.flatnonzero(same)
        for column in range(-(-int(lengths.max(initial=0)) // 8)):
            open_ = open_[lengths[open_] > 8 * column]
            differs = self.column(column, rows[open_]) != other.column(column, others[open_])
            same[open_[differs]] = False
            open_ = open_[~differs]
        return same
