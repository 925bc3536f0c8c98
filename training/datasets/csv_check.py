"""CSV files before they are parsed: a sound header, and the same number of cells in every row."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from contract.errors import DataError

_BLOCK = 1 << 24
_QUOTE, _COMMA, _NEWLINE = b'",\n'


def csv_header(path: Path) -> tuple[str, ...]:
    """Column names of a CSV file; DataError where there are none, or one of them twice."""
    try:
        with _opened(path) as stream:
            names = tuple(next(csv.reader([stream.readline().decode("utf-8-sig")]), []))
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    if not names:
        raise DataError(f"{path}: the file is empty; a header line with column names is needed")
    if doubled := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path}: column '{doubled[0]}' appears twice in the header; rename one")
    if len(names) == 1 and (other := [mark for mark in ";\t|" if mark in names[0]]):
        raise DataError(f"{path}: cells seem to be separated by {other[0]!r}; a comma is needed")
    return names


def require_even_rows(path: Path, cells: int) -> None:
    """Check that every row has `cells` cells; DataError names the first that has not."""
    open_commas, quotes, last = 0, 0, _NEWLINE  # of the row that the last block left open
    with _opened(path) as stream:
        while block := stream.read(_BLOCK):
            data = np.frombuffer(block, np.uint8)
            marks = data[(data == _COMMA) | (data == _NEWLINE) | (data == _QUOTE)]
            is_quote = marks == _QUOTE
            inside = (quotes + np.cumsum(is_quote)) % 2 == 1
            quotes += int(is_quote.sum())
            marks = marks[~is_quote & ~inside]
            ends = np.flatnonzero(marks == _NEWLINE)
            if (np.diff(ends, prepend=-1 - open_commas) != cells).any():
                raise _uneven(path, cells)
            open_commas = len(marks) - 1 - int(ends[-1]) if len(ends) else open_commas + len(marks)
            last = int(data[-1])
    if quotes % 2 or (last != _NEWLINE and open_commas != cells - 1):
        raise _uneven(path, cells)


def _uneven(path: Path, cells: int) -> DataError:
    """Find the row with the exact, slow parser."""
    with _opened(path) as stream:
        lines = (line.decode("utf-8", "replace") for line in stream)
        for row, found in enumerate(csv.reader(lines)):
            if len(found) != cells:
                return DataError(f"{path}, row {row}: {len(found)} cells where the header has {cells}; mend the row")
    return DataError(f"{path}: a quotation mark is never closed, or stands inside an unquoted cell; quote that cell")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        yield cast(IO[bytes], stream)
