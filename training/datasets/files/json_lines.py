"""JSON lines: an object a row, in pieces; values keep their types, or become canonical texts where a column mixes them.

Polars parses a block by the types that the columns had before it. Where that fails, or could have changed a value, the
block is parsed line by line, and its types are remembered. Blank lines are no rows.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from contract.errors import DataError
from training.datasets.files.compressed import blocks
from training.datasets.files.csv_rows import LONGEST, SHOWN, Place
from training.datasets.files.mixed import EXACT, Cell, series_of, widest
from training.datasets.partitions import Chunk, Rejected

_FIRST = 1 << 18  # bytes from which the first types are learned
_BOM = b"\xef\xbb\xbf"
_HALF = re.compile(rb"(?i)\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f]")  # of a surrogate pair
_DOUBTFUL = r"^[\[{]|^-0$|^-?0\.0000|^-?\d{21}"  # as text: a list, an object, or a float that is written otherwise
_LONG = r"^-?\d{16}"  # may be a float, or a long id
_FLOAT = re.compile(rb"[:,\[]\s*-?(?:[\d.]+[eE]|\d{16,}\.)")

Types = dict[str, pl.DataType]


def json_names(path: Path, size: int) -> tuple[str, ...]:
    """Keys of the objects in the first `size` bytes or more, in order of appearance."""
    return tuple(dict.fromkeys(key for row in _sample(path, size) for key in row))


def json_nested(path: Path, size: int) -> set[str]:
    """Keys that hold objects, or lists of other than plain values, which cannot be used."""
    return {key for row in _sample(path, size) for key, cell in row.items() if _is_nested(cell)}


def _sample(path: Path, size: int) -> list[dict[str, Any]]:
    """The objects in the first `size` bytes or more."""
    start = b""
    for block in blocks(path, size):
        start += block
        if b"\n" in start or len(start) > LONGEST:
            break
    start = start.removeprefix(_BOM)
    if not start.strip():
        raise DataError(f"{path}: the file is empty; it must hold a JSON object a line")
    rows = [row for line in start.split(b"\n") if isinstance(row := _parsed(line), dict)]
    if not any(rows):
        raise DataError(f'{path}: no JSON object in the first lines; each must be one, as in {{"user_id": 1}}')
    return rows


def json_pieces(path: Path, wanted: Sequence[str], size: int) -> Iterator[Chunk]:
    """The wanted columns of all rows, `size` bytes or so at a time."""
    types: Types = {}
    rest, place, stream = b"", Place(1, 1), blocks(path, size)
    block = next(stream, b"").removeprefix(_BOM)
    while block:
        following = next(stream, b"")
        data = rest + block
        if not following and not data.endswith(b"\n"):
            data += b"\n"
        end = data.rfind(b"\n") + 1
        text, rest, block = data[:end], data[end:], following
        if len(rest) > LONGEST:
            raise DataError(f"{path}, row {place.row}: a line of more than {LONGEST:,} bytes; are these JSON lines?")
        if not text:
            continue
        types = types or _line_by_line(path, text[: text.find(b"\n", _FIRST) + 1 or None], wanted, place).frame.schema
        piece = _at_once(path, text, types, place)
        if piece is None:
            piece = _line_by_line(path, text, wanted, place)
            types = {name: widest(types[name], dtype) for name, dtype in piece.frame.schema.items()}
        place = Place(place.row + len(piece.rows) + len(piece.rejected), place.line + text.count(b"\n"))
        yield piece


def _at_once(path: Path, text: bytes, types: Types, place: Place) -> Chunk | None:
    """A block of the known types; None where it must be looked at more closely."""
    rows = text.count(b"\n")
    if not rows or (b"\\u" in text and _HALF.search(text)):
        return None
    try:
        frame = pl.read_ndjson(text, schema={name: _with_values(dtype) for name, dtype in types.items()})
    except pl.exceptions.PolarsError:
        return None
    if len(frame) != rows or any(_is_doubtful(column, text) for column in frame):
        return None
    counted = np.arange(rows)
    return Chunk(str(path), frame, place.row + counted, place.line + counted)


def _with_values(dtype: pl.DataType) -> pl.DataType:
    """Texts, where nothing is known but nulls: anything can be one."""
    return pl.String() if dtype == pl.Null else pl.List(pl.String()) if dtype == pl.List(pl.Null) else dtype


def _is_doubtful(column: pl.Series, source: bytes) -> bool:
    """Whether a value may not be what was in the file: polars makes anything a text, and any number a float."""
    values = column.explode() if column.dtype == pl.List else column
    if values.dtype.is_float():
        return bool((values.abs() >= EXACT).any())
    if values.dtype != pl.String:
        return False
    long = values.str.contains(_LONG).any() and _FLOAT.search(source) is not None
    return bool(long or values.str.contains(_DOUBTFUL).any())


class _Bad(ValueError):
    """Why a line is no row."""


def _line_by_line(path: Path, text: bytes, wanted: Sequence[str], place: Place) -> Chunk:
    columns: dict[str, list[Cell]] = {name: [] for name in wanted}
    rows, lines, rejected = [], [], []
    row, line = place
    for content in text.split(b"\n")[:-1]:
        if content.strip():
            try:
                cells = _cells(content, wanted)
                for name, cell in zip(wanted, cells, strict=True):
                    columns[name].append(cell)
                rows.append(row)
                lines.append(line)
            except _Bad as why:
                shown = content[: 4 * SHOWN].decode("utf-8", "replace").rstrip("\r")[:SHOWN]
                rejected.append(Rejected(str(path), row, line, str(why), shown))
            row += 1
        line += 1
    frame = pl.DataFrame([series_of(name, values) for name, values in columns.items()])
    return Chunk(str(path), frame, np.array(rows, np.int64), np.array(lines, np.int64), tuple(rejected))


def _cells(content: bytes, wanted: Sequence[str]) -> list[Cell]:
    """The wanted values of a line; _Bad says why there are none."""
    row = _parsed(content)
    if isinstance(row, _Bad):
        raise row
    cells = [row.get(name) for name in wanted]
    for name, cell in zip(wanted, cells, strict=True):
        if _is_nested(cell):
            raise _Bad(f"'{name}' holds an object, or lists in a list; a text, a number or a list of them is needed")
    if b"\\u" in content:
        _require_text(cells)
    return cells


def _is_nested(cell: object) -> bool:
    inner = cell if isinstance(cell, list) else ()
    return isinstance(cell, dict) or any(isinstance(value, dict | list) for value in inner)


def _parsed(content: bytes) -> dict[str, Any] | _Bad:
    """The object of a line, or why there is none."""
    try:
        row = json.loads(content.decode(), object_pairs_hook=_first, parse_constant=_refuse)
    except UnicodeDecodeError:
        return _Bad("not UTF-8 text")
    except _Bad as why:
        return why
    except json.JSONDecodeError as error:
        return _Bad(f"not JSON at column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:
        return _Bad(f"not JSON that can be read: {error}")
    return row if isinstance(row, dict) else _Bad("not a JSON object; each line must be one")


def _first(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Of a key that comes twice the first value, as polars has it."""
    return dict(reversed(pairs)) if len({key for key, _ in pairs}) < len(pairs) else dict(pairs)


def _refuse(constant: str) -> NamedTuple:
    raise _Bad(f"{constant} is not JSON; write null")


def _require_text(cells: Sequence[Cell]) -> None:
    try:
        json.dumps(cells, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _Bad("half of a surrogate pair (\\ud800 to \\udfff) is no text") from None
