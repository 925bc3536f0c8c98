"""Distinct values with their counts, merged from any number of files in bounded memory.

Each file holds `value` (String, no nulls), `count` (Int64) and `first` (Int64: where in the whole table the value
stands first); a value may be in many of them. Rows are dealt by a hash of the value into partitions that fit in
memory, and each partition is merged alone. Nothing in the result depends on that hash, on how many partitions there
are, or on how the rows are spread over the files.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from contract.dictionary import Texts
from training.datasets.texts import joined, keys

ROWS = 8_000_000  # of a partition: under a GB
SCHEMA = {"value": pl.String, "count": pl.Int64, "first": pl.Int64}


def merged(files: Sequence[Path], work: Path, most: int = ROWS) -> Iterator[pl.DataFrame]:
    """Distinct values with `count` summed, `first` the least, in no order, a partition of about `most` rows at a time.

    What is laid under `work` meanwhile has a name of its own, and is removed.
    """
    rows = sum(pl.scan_parquet(file, glob=False).select(pl.len()).collect().item() for file in files)
    partitions = max(1, -(-rows // most))
    if partitions == 1:
        yield _distinct(pl.concat([pl.DataFrame(schema=SCHEMA), *map(_read, files)]).lazy())
        return
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="merge.", dir=work) as folder:
        _deal(files, Path(folder), partitions, most)
        for partition in range(partitions):
            parts = list(Path(folder).glob(f"{partition}.*.parquet"))
            if parts:
                yield _distinct(pl.scan_parquet(parts, glob=False))
            for part in parts:
                part.unlink()


def vocabulary(files: Sequence[Path], min_count: int, work: Path, most: int = ROWS) -> Texts:
    """Keys counted at least `min_count` times, the most frequent first, ties by key: the order of Dictionary.build."""
    kept = [part.filter(pl.col("count") >= min_count).drop("first") for part in merged(files, work, most)]
    known = pl.concat(kept)
    known = known.with_columns(keys(known["value"]))
    return joined(known.sort("count", "value", descending=[True, False])["value"])


def in_order_of_appearance(files: Sequence[Path], work: Path, most: int = ROWS) -> Texts:
    """All values as they are, by `first`, ties by value."""
    parts = [part.drop("count") for part in merged(files, work, most)]
    return joined(pl.concat(parts).sort("first", "value")["value"])


def _read(file: Path) -> pl.DataFrame:
    return pl.read_parquet(file, columns=list(SCHEMA), glob=False)


def _deal(files: Sequence[Path], folder: Path, partitions: int, most: int) -> None:
    """Rows of the files to `PARTITION.BATCH.parquet`, a batch of files at a time."""
    batch: list[pl.DataFrame] = []
    home = (pl.col("value").hash() % partitions).alias("home")
    for number, file in enumerate(files, 1):
        batch.append(_read(file))
        if sum(map(len, batch)) >= most // 2 or number == len(files):
            for (partition,), part in pl.concat(batch).with_columns(home).partition_by("home", as_dict=True).items():
                part.drop("home").write_parquet(folder / f"{partition}.{number}.parquet", compression="lz4")
            batch = []


def _distinct(rows: pl.LazyFrame) -> pl.DataFrame:
    sums = rows.group_by("value").agg(pl.col("count").sum(), pl.col("first").min())
    return sums.collect(engine="streaming")  # half the memory of the one in memory
