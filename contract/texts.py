"""Many texts in two arrays, and their bytes as matrices of words: what dictionaries and hashes are vectorised over."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

_BLOCK = 65_536  # texts at a time: their matrices stay in the processor's cache
FEW = 2000  # texts whose matrix may be as wide as the longest of them
_TAIL = np.zeros(8, np.uint8)  # so that there is a word at the last byte, and one where there are none
_MASKS = np.array([2 ** (8 * n) - 1 for n in range(9)], np.uint64)  # that keep the first n bytes of a word

Rows = NDArray[np.integer] | slice
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

    def part(self, start: int, stop: int) -> Self:
        """Texts `start` to `stop`; no bytes are copied."""
        offsets = self.offsets[start : stop + 1]
        return type(self)(self.data[offsets[0] : offsets[-1]], offsets - offsets[0])

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
        self._at: NDArray[np.uint64] = np.ndarray(len(padded) - 7, "<u8", padded, strides=(1,))  # the word at each byte

    def matrix(self, rows: Rows, lengths: NDArray[np.int64], width: int) -> NDArray[np.uint64]:
        """The first `width` words of the texts `rows` of these `lengths`, zeros after their ends: [rows, width]."""
        columns = 8 * np.arange(width)
        left = np.minimum(np.maximum(lengths[:, None] - columns, 0), 8)  # bytes of the text in each word
        place = np.minimum(self._starts[rows][:, None] + columns, len(self._at) - 1)
        words: NDArray[np.uint64] = self._at[place] & _MASKS[left]
        return words

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        """Bytes of the texts `rows`."""
        return self._stops[rows] - self._starts[rows]


class Matrix(NamedTuple):
    """Some texts as words."""

    rows: Rows  # which ones
    words: NDArray[np.uint64]  # [n, width]
    lengths: NDArray[np.int64]  # [n], bytes


def matrices(texts: Texts) -> Iterator[Matrix]:
    """All texts, a block at a time; of a large block, those of as many words together: one long text costs little."""
    for start in range(0, texts.size, _BLOCK):
        words = Words(texts.part(start, start + _BLOCK))
        lengths = words.texts.lengths
        widths = np.maximum((lengths + 7) // 8, 1)
        widest = int(widths.max())
        if widest == 1 or len(widths) <= FEW:
            yield Matrix(slice(start, start + len(widths)), words.matrix(_ALL, lengths, widest), lengths)
            continue
        for width in np.flatnonzero(np.bincount(widths)).tolist():
            rows = np.flatnonzero(widths == width)
            yield Matrix(rows + start, words.matrix(rows, lengths[rows], width), lengths[rows])


def matrix_of(keys: Sequence[bytes]) -> Matrix:
    """A few keys as words: in less calls than by `Texts`."""
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    width = max(1, (int(lengths.max(initial=0)) + 7) // 8)
    words = np.array(keys, f"S{8 * width}").view("<u8").reshape(len(keys), width)
    return Matrix(_ALL, words, lengths)
