"""A file of user ids: one a line, or a column of a CSV or TSV file; gzipped where the name ends in .gz."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from contract.errors import DataError


def read_users(path: Path, column: str | None = None) -> list[str]:
    """The ids in their order, each once; DataError where the file cannot be read or has none."""
    try:
        with _opened(path) as file:
            users = list(dict.fromkeys(user for user in _ids(file, path, column) if user))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as text in UTF-8: {error}") from None
    if not users:
        raise DataError(f"{path}: no user ids in it")
    return users


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _ids(file: TextIO, path: Path, column: str | None) -> Iterator[str]:
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "parquet":
        raise DataError(f"{path}: Parquet is not read here; write the ids as CSV, or one a line")
    if column is None and kind not in ("csv", "tsv"):
        yield from map(str.strip, file)
        return
    rows = csv.reader(file, delimiter="\t" if kind == "tsv" else ",")
    heading = next(rows, [])
    if column not in heading:
        wanted = "name the one of user ids with --column" if column is None else f"none is '{column}'"
        raise DataError(f"{path}: {wanted}; its columns: {', '.join(heading) or 'none'}")
    place = heading.index(column)
    for row in rows:
        if row:  # csv gives [] for a blank line
            yield _cell(row, place, path, rows.line_num)


def _cell(row: list[str], place: int, path: Path, line: int) -> str:
    if place >= len(row):
        raise DataError(f"{path}:{line}: {len(row)} columns, too few to hold the user id")
    return row[place].strip()
