"""CSV files: a sound header, and rows in pieces, every cell a text."""

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from contract.errors import DataError
from training.datasets.compressed import blocks
from training.datasets.csv_rows import LONGEST, Place, Rows, cells_of, first_row, sound_rows, text_of
from training.datasets.partitions import Chunk

_HEADER = 1 << 20  # bytes in which it must end
_BOM = b"\xef\xbb\xbf"


def csv_names(path: Path) -> tuple[str, ...]:
    """Column names of a CSV file; DataError where there are none, or one of them twice."""
    start = next(blocks(path, _HEADER), b"")[:_HEADER]
    names = _names(path, _header(path, start))
    if doubled := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path}: column '{doubled[0]}' appears twice in the header; rename one")
    if len(names) == 1 and (other := [mark for mark in ";\t|" if mark in names[0]]):
        raise DataError(f"{path}: cells seem to be separated by {other[0]!r}; a comma is needed")
    return names


def csv_pieces(path: Path, wanted: Collection[str], size: int) -> Iterator[Chunk]:
    """The wanted columns of all rows, `size` bytes or so at a time."""
    names: tuple[str, ...] = ()
    rest, place, stream = b"", Place(1, 1), blocks(path, size)
    block = next(stream, None)
    while block is not None:
        following = next(stream, None)
        data, last = rest + block, following is None
        if last and not data.endswith(b"\n"):
            data += b"\n"
        if not names:
            header = _header(path, data)
            names, data = _names(path, header), data[len(header) :]
            place = Place(1, 1 + header.count(b"\n"))
        rows = sound_rows(str(path), data, len(names), place, last)
        if len(rows.rows) or rows.rejected:
            yield Chunk(str(path), _frame(path, rows, names, wanted), rows.rows, rows.lines, rows.rejected)
        rest, place, block = data[rows.taken :], rows.next, following
        if len(rest) > 2 * LONGEST:
            raise DataError(
                f"{path}, row {place.row} (line {place.line}): a row of more than {LONGEST:,} bytes; no CSV?"
            )


def _header(path: Path, data: bytes) -> bytes:
    """The header row with its newline, and with a byte order mark."""
    if not data.removeprefix(_BOM).strip():
        raise DataError(f"{path}: the file is empty; a header line with column names is needed")
    mark = _BOM if data.startswith(_BOM) else b""
    row = first_row(data.removeprefix(_BOM) + b"\n")
    if row is None:
        raise DataError(f"{path}: the header's quotation marks are unsound; double the marks inside a name")
    return (mark + row)[: len(data)]


def _names(path: Path, header: bytes) -> tuple[str, ...]:
    try:
        return tuple(text_of(cell) for cell in cells_of(header.removeprefix(_BOM)))
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
