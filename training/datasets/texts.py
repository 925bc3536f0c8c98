"""Polars' texts as the keys of dictionaries: a String column → bytes end to end and offsets, without a loop over it."""

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.dictionary import MAX_VALUE_BYTES, Texts, key_bytes

_BLOCK = 1_048_576  # values laid end to end at a time


def keys(values: pl.Series) -> pl.Series:
    """Values as keys: those too long are replaced by their digest; null and "" stay."""
    long = (values.str.len_bytes() > MAX_VALUE_BYTES).fill_null(False).arg_true()
    if not len(long):
        return values
    return values.clone().scatter(long, [key_bytes(value).decode() for value in values.gather(long)])


def packed(values: pl.Series) -> Texts:
    """The keys of a String column; a null is an empty text."""
    return joined(keys(values))


def joined(known: pl.Series) -> Texts:
    """The texts of a String column as they are, as row keys are; a null is an empty text."""
    offsets = np.zeros(len(known) + 1, np.int64)
    np.cumsum(known.str.len_bytes().fill_null(0).to_numpy(), out=offsets[1:])
    data = np.empty(offsets[-1], np.uint8)
    for start in range(0, len(known), _BLOCK):
        stop = min(start + _BLOCK, len(known))
        data[offsets[start] : offsets[stop]] = _bytes(known[start:stop])
    return Texts(data, offsets)


def _bytes(values: pl.Series) -> NDArray[np.uint8]:
    present = values.filter((values != "").fill_null(False))  # an empty list would explode to a null
    return present.cast(pl.Binary).cast(pl.List(pl.UInt8)).explode().to_numpy()


def unpacked(texts: Texts, start: int, stop: int) -> pl.Series:
    """Texts `start` to `stop` as a String column."""
    ends = texts.offsets[start : stop + 1] - texts.offsets[start]
    data = texts.data[texts.offsets[start] : texts.offsets[stop]].tobytes()
    if data.isascii():
        whole = data.decode()
        return pl.Series([whole[a:b] for a, b in pairwise(ends.tolist())], dtype=pl.String)
    return pl.Series([data[a:b].decode() for a, b in pairwise(ends.tolist())], dtype=pl.String)
