"""CSV files: a sound header, and rows in pieces, every cell a text."""

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from contract.errors import DataError
from training.datasets.files.compressed import blocks
from training.datasets.files.csv_rows import LONGEST, Place, Rows, cells_of, first_row, sound_rows, text_of
from training.datasets.partitions import Chunk

_HEADER = 1 << 20  # bytes in which it must end
_BOM = b"\xef\xbb\xbf"


def csv_names(path: Path) -> tuple[str, ...]:
    """Column names of a CSV file; DataError where there are none, or one of them twice."""
    return _header(path)[0]


def csv_pieces(path: Path, wanted: Collection[str], size: int) -> Iterator[Chunk]:
    """The wanted columns of all rows, `size` bytes or so at a time."""
    names, header = _header(path)
    place, left, rest, stream = Place(1, 1 + header.count(b"\n")), len(header), b"", blocks(path, size)
    block = next(stream, b"")
    while block:
        following = next(stream, b"")
        data, left = rest + block[left:], max(0, left - len(block))
        if not following and data and not data.endswith(b"\n"):
            data += b"\n"
        rows = sound_rows(str(path), data, len(names), place, not following)
        if len(rows.rows) or rows.rejected:
            yield Chunk(str(path), _frame(path, rows, names, wanted), rows.rows, rows.lines, rows.rejected)
        rest, place, block = data[rows.taken :], rows.next, following
        if len(rest) > 2 * LONGEST:
            raise DataError(f"{path}, row {place.row}: a row of more than {LONGEST:,} bytes; is this CSV?")


def _header(path: Path) -> tuple[tuple[str, ...], bytes]:
    """Column names, and the bytes that say them."""
    start = next(blocks(path, _HEADER), b"")[:_HEADER]
    mark = _BOM if start.startswith(_BOM) else b""
    row = first_row(start.removeprefix(mark) + b"\n")
    if row is None:
        raise DataError(f"{path}: the header's quotation marks are unsound; double the marks inside a name")
    names = _names(path, row)
    if b"\r" in row.rstrip(b"\r\n") and b'"' not in row:
        raise DataError(f"{path}: lines end with a carriage return alone; save it with line feeds")
    if names == ("",):
        raise DataError(f"{path}: the file is empty; a header line with column names is needed")
    if doubled := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path}: column '{doubled[0]}' appears twice in the header; rename one")
    if len(names) == 1 and (other := [letter for letter in ";\t|" if letter in names[0]]):
        raise DataError(f"{path}: cells seem to be separated by {other[0]!r}; a comma is needed")
    return names, (mark + row)[: len(start)]


def _names(path: Path, header: bytes) -> tuple[str, ...]:
    try:
        return tuple(text_of(cell) for cell in cells_of(header))
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from None


def _frame(path: Path, rows: Rows, names: tuple[str, ...], wanted: Collection[str]) -> pl.DataFrame:
    places = [place for place, name in enumerate(names) if name in wanted] or [0]
    chosen = [names[place] for place in places]  # polars is not told the names: it leaves doubled quotes in them
    if not len(rows.rows):
        return pl.DataFrame(schema=dict.fromkeys(chosen, pl.String))
    try:
        frame = pl.read_csv(rows.text, has_header=False, columns=places, infer_schema=False, glob=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if len(frame) != len(rows.rows):
        first, last = rows.rows[0], rows.rows[-1]
        raise DataError(f"{path}: rows {first} to {last} were parsed as {len(frame)} rows; quote all their cells")
    frame.columns = chosen
    return frame.with_columns(pl.all().replace("", None)) if b'""' in rows.text else frame
