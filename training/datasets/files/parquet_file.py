"""Parquet files: typed columns, in pieces."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from contract.errors import DataError
from training.datasets.partitions import CHUNK, Chunk


def parquet_names(path: Path) -> tuple[str, ...]:
    """Column names of a Parquet file; DataError where it cannot be read."""
    return tuple(_schema(path).names())


def parquet_nested(path: Path) -> set[str]:
    """Columns of structures, which cannot be used."""
    return {name for name, dtype in _schema(path).items() if _is_nested(dtype)}


def parquet_pieces(path: Path, wanted: Sequence[str]) -> Iterator[Chunk]:
    """The wanted columns of all rows, by slices: memory is bounded however large a row group is."""
    schema = _schema(path)
    columns = [_plain(path, name, schema[name]) for name in schema.names() if name in wanted]
    scan = pl.scan_parquet(path, glob=False)
    try:
        rows: int = scan.select(pl.len()).collect().item()
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            frame = scan.slice(start, count).select(columns).collect() if columns else pl.DataFrame(height=count)
            yield Chunk(str(path), frame, np.arange(start + 1, start + count + 1))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from None


def _schema(path: Path) -> pl.Schema:
    try:
        return pl.scan_parquet(path, glob=False).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from None


def _plain(path: Path, name: str, dtype: pl.DataType) -> pl.Expr:
    """Categories as texts, decimals as whole numbers or floats; DataError where values are structures."""
    if _is_nested(dtype):
        raise DataError(f"{path}: column '{name}' holds {dtype}; a text, a number or a list of them is needed")
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.col(name).cast(pl.String)
    if isinstance(dtype, pl.Decimal):
        return pl.col(name).cast(pl.Float64 if dtype.scale else pl.Int128)
    return pl.col(name)


def _is_nested(dtype: pl.DataType) -> bool:
    inner = pl.Series(dtype=dtype).explode().dtype if isinstance(dtype, pl.List | pl.Array) else dtype
    return inner.is_nested()


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}")
