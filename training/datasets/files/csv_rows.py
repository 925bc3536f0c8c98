"""Rows of CSV text before they are parsed: where each begins, and which of them are unsound.

A block without faults is known to be sound by counting its marks; only a block with a fault is walked row by row.
Quotes are of RFC 4180: a cell that begins with a mark is quoted, and holds newlines, commas and doubled marks; in any
other cell a mark is a letter.
"""

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.datasets.partitions import Rejected

LONGEST = 1 << 24  # bytes of a row: a mark that is not closed in as many never is
SHOWN = 1_000  # characters of a rejected row
_QUOTE, _COMMA, _NEWLINE, _RETURN = b'",\n\r'
_CELL = rb'(?:"(?:[^"]++|"")*+"(?=,|\r?\n)|[^",\n][^,\n]*+|)'
_ROW = re.compile(_CELL + rb"(?:," + _CELL + rb")*+\r?\n")
_CELLS = re.compile(rb",(" + _CELL + rb")")
_OPEN = re.compile(
    rb"(?:" + _CELL + rb',)*+(?:"(?:[^"]++|"")*+"?\r?|[^",\n][^,\n]*+|)\Z'
)  # may go on in the next block

Ints = NDArray[np.int64]


class Place(NamedTuple):
    """Numbers of the next row and of its line."""

    row: int
    line: int


class Rows(NamedTuple):
    """The sound rows of a block, and the bytes that are used up: up to the end of the last whole row."""

    text: bytes
    rows: Ints  # [sound rows]
    lines: Ints
    rejected: tuple[Rejected, ...]
    taken: int
    next: Place


def sound_rows(where: str, data: bytes, cells: int, start: Place, last: bool) -> Rows:
    """Rows of `data`, which begins with one; the last block must end with a newline."""
    if data.count(b"\r") - data.endswith(b"\r") != data.count(b"\r\n"):  # polars takes some for the end of a row
        return _walked(where, data, cells, start, last)
    found = _quoted_ends(data, cells) if _QUOTE in data else _plain_ends(data, cells)
    if found is None or (not len(found.ends) and (last or len(data) > LONGEST)):
        return _walked(where, data, cells, start, last)
    taken = int(found.ends[-1]) + 1 if len(found.ends) else 0
    text = data[:taken]
    if not _is_utf8(text) or (last and taken < len(data)):
        return _walked(where, data, cells, start, last)
    lines = start.line + np.concatenate([np.zeros(1, np.int64), found.newlines])
    rows = np.arange(start.row, start.row + len(found.ends))
    return Rows(text, rows, lines[:-1], (), taken, Place(start.row + len(rows), int(lines[-1])))


def cells_of(row: bytes) -> list[bytes]:
    """Cells of a sound row with its newline, as they stand there."""
    row = row.removesuffix(b"\n").removesuffix(b"\r")
    return _CELLS.findall(b"," + row + b"\n") if b'"' in row else row.split(b",")


def first_row(data: bytes) -> bytes | None:
    """The row that the data begin with, its newline included; None where it is unsound."""
    match = _ROW.match(data)
    return match and match.group()


def text_of(cell: bytes) -> str:
    """What a cell says; UnicodeDecodeError where it is not UTF-8."""
    return (cell[1:-1].replace(b'""', b'"') if cell.startswith(b'"') else cell).decode()


class _Ends(NamedTuple):
    ends: Ints  # where each row's newline is
    newlines: Ints  # up to and with it


def _plain_ends(data: bytes, cells: int) -> _Ends | None:
    """Row ends of a block without quotes; None where a row has another number of cells."""
    marks = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(marks == _NEWLINE)
    commas = np.flatnonzero(marks == _COMMA)
    return _Ends(ends, np.arange(1, len(ends) + 1)) if _even(ends, commas, cells) else None


def _quoted_ends(data: bytes, cells: int) -> _Ends | None:
    """Row ends of a block with quotes; None also where a mark neither begins nor ends a cell."""
    letters = np.frombuffer(data, np.uint8)
    places = np.flatnonzero((letters == _COMMA) | (letters == _NEWLINE) | (letters == _QUOTE))
    marks = letters[places]
    quotes = marks == _QUOTE
    inside = np.cumsum(quotes.view(np.int8), dtype=np.int8) & 1 == 1  # after the mark; the count may wrap
    if not _stand_at_edges(letters, places[quotes & inside], places[quotes & ~inside]):
        return None
    newlines = np.flatnonzero(marks == _NEWLINE)
    outside = np.flatnonzero(~inside[newlines])
    ends = places[newlines[outside]]
    return _Ends(ends, outside + 1) if _even(ends, places[(marks == _COMMA) & ~inside], cells) else None


def _stand_at_edges(letters: NDArray[np.uint8], opening: Ints, closing: Ints) -> bool:
    """Whether quotes open after a comma, a newline or a closing one, and close before such or another one."""
    before = letters[opening[opening > 0] - 1]
    after = letters[closing[closing < len(letters) - 2] + 1]
    returns = closing[closing < len(letters) - 2][after == _RETURN] + 2
    known = (before == _COMMA) | (before == _NEWLINE) | (before == _QUOTE)
    ends = (after == _COMMA) | (after == _NEWLINE) | (after == _QUOTE) | (after == _RETURN)
    return bool(known.all() and ends.all() and (letters[returns] == _NEWLINE).all())


def _even(ends: Ints, commas: Ints, cells: int) -> bool:
    """Whether each row has cells - 1 commas; behind the last newline there may be more."""
    inner = (cells - 1) * len(ends)
    if not len(ends):
        return True
    if len(commas) < inner or (len(commas) > inner and commas[inner] < ends[-1]):
        return False
    grid = commas[:inner].reshape(len(ends), cells - 1)
    return cells == 1 or bool((grid[:, -1] < ends).all() and (grid[1:, 0] > ends[:-1]).all())


def _is_utf8(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


def _walked(where: str, data: bytes, cells: int, start: Place, last: bool) -> Rows:
    """Row by row. Where quotes are unsound a line is rejected, and the next one is taken for the start of a row."""
    sound: list[bytes] = []
    rows, lines, rejected = [], [], []
    at, row, line = 0, start.row, start.line
    while (newline := data.find(b"\n", at)) >= 0:
        match = _ROW.match(data, at)
        if match is None and not last and len(data) - at <= LONGEST and _OPEN.match(data, at):
            break
        text = data[at : newline + 1] if match is None else match.group()
        if why := _fault(text, cells, match is not None):
            shown = text[: 4 * SHOWN].decode("utf-8", "replace").rstrip("\r\n")[:SHOWN]
            rejected.append(Rejected(where, row, line, why, shown))
        else:
            sound.append(_requoted(text))
            rows.append(row)
            lines.append(line)
        at, row, line = at + len(text), row + 1, line + text.count(b"\n")
    return Rows(
        b"".join(sound), np.array(rows, np.int64), np.array(lines, np.int64), tuple(rejected), at, Place(row, line)
    )


def _fault(row: bytes, cells: int, quotes_sound: bool) -> str | None:
    """Why a row cannot be parsed; None where it can."""
    if not _is_utf8(row):
        return "not UTF-8 text"
    if not quotes_sound:
        return "a quotation mark is never closed, or text follows the closing one; double the marks inside a cell"
    found = 0 if cells > 1 and not row.strip(b"\r\n") else len(cells_of(row))
    return None if found == cells else f"{found} cells where the header has {cells}; mend the row"


def _requoted(row: bytes) -> bytes:
    """The row with every cell quoted where a mark or a return is a letter in it."""
    if b'"' not in row and b"\r" not in row:
        return row
    quoted = (cell if cell[:1] == b'"' else b'"' + cell.replace(b'"', b'""') + b'"' for cell in cells_of(row))
    return b",".join(quoted) + b"\n"
