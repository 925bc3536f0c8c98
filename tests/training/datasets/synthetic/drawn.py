"""Drawn tables as frames."""

import polars as pl

from training.datasets.partitions import Table
from training.datasets.raw import RawTable


def all_rows(table: RawTable | Table | None) -> pl.DataFrame:
    """All rows of a table."""
    assert table is not None
    return pl.concat([chunk.frame for partition in table.partitions for chunk in partition.chunks()])


def texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists joined to texts, as a CSV file holds them."""
    return frame.with_columns(pl.col(pl.List(pl.String)).list.join("|"))
