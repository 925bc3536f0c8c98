"""A raw file read whole: CSV cells as text, Parquet cells as typed."""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from contract.errors import DataError
from training.datasets.csv_check import csv_header, require_even_rows
from training.datasets.raw import RawTable

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def read_table(path: Path, wanted: Collection[str] | None = None) -> RawTable:
    """Read the wanted columns (None: all) of a CSV or Parquet file; DataError where it cannot be read or is empty."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"{path}: unknown kind of file; {', '.join(SUFFIXES)} can be read")
    try:
        table = _read_parquet(path, wanted) if path.suffix == ".parquet" else _read_csv(path, wanted)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if not len(table):
        raise DataError(f"{path}: has no rows")
    return table


def _read_parquet(path: Path, wanted: Collection[str] | None) -> RawTable:
    scan = pl.scan_parquet(path, glob=False)
    names = tuple(scan.collect_schema().names())
    columns = [name for name in names if wanted is None or name in wanted]
    frame = scan.select(columns).collect() if columns else pl.DataFrame(height=scan.select(pl.len()).collect().item())
    return RawTable(str(path), frame, names)


def _read_csv(path: Path, wanted: Collection[str] | None) -> RawTable:
    names = csv_header(path)
    require_even_rows(path, len(names))
    places = [place for place, name in enumerate(names) if wanted is None or name in wanted]
    frame = pl.read_csv(path, columns=places or [0], infer_schema=False, glob=False)
    frame.columns = [names[place] for place in places or [0]]  # polars leaves doubled quotes in names
    return RawTable(str(path), frame, names)
