"""Raw tables in partitions, read a chunk at a time: what every source hands to `prepare`.

A partition is read by one process from its first row to its last, and gives the same chunks whenever and wherever it
is read; that is what lets an unfinished run go on, and several machines write what one would.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

CHUNK = 1_048_576  # rows: eight of the row groups that training reads


class Rejected(NamedTuple):
    """A row that cannot be used. `row` is counted in the file from 1, header left out; `line` is of a text file."""

    where: str
    row: int
    line: int | None
    why: str
    content: str


@dataclass(frozen=True)
class Chunk:
    """Up to CHUNK rows of a partition as raw columns: cells of text files as text, others as typed.

    Rows that could not even be parsed are in `rejected` and not in `frame`. `notes` counts what the source did on
    purpose or found odd, by a phrase for people: rows it left out, values it did not expect.
    """

    where: str  # the file, for messages
    frame: pl.DataFrame
    rows: NDArray[np.int64]  # of the file, counted from 1, [len(frame)]
    lines: NDArray[np.int64] | None = None  # of a text file, [len(frame)]
    rejected: tuple[Rejected, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)


class Partition(Protocol):
    """A file, or a part of a source. Small and picklable: what it reads is opened in `chunks`."""

    @property
    def identity(self) -> str:
        """What must be the same for its chunks to be the same: path, size and time of change, or seed and range."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, each but the last of CHUNK rows; DataError where the file cannot be read."""
        ...


@dataclass(frozen=True)
class Table:
    """A raw table in partitions; every chunk has the columns `names`, but for those that nobody asked for."""

    where: str
    names: tuple[str, ...]
    partitions: Sequence[Partition]

    def __contains__(self, name: str) -> bool:
        return name in self.names


@dataclass(frozen=True)
class Held:
    """A table that is in memory already, as a partition."""

    where: str
    frame: pl.DataFrame = field(repr=False)

    @property
    def identity(self) -> str:
        """Of its values."""
        content = BytesIO()
        self.frame.write_ipc(content)
        return f"{self.where}:{hashlib.sha256(content.getbuffer()).hexdigest()}"

    def chunks(self) -> Iterator[Chunk]:
        """Slices."""
        for start in range(0, len(self.frame), CHUNK):
            part = self.frame[start : start + CHUNK]
            yield Chunk(self.where, part, np.arange(start + 1, start + len(part) + 1))
