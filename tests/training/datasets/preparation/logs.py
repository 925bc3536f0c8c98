"""Shops cut into files and chunks, and prepared data sets compared whatever their parts."""

import hashlib
import json
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.training.datasets.shop import interactions, users, write_shop
from training.datasets.pipeline import Options, write_prepared
from training.datasets.prepared import Prepared
from training.datasets.table import read_tables

PLAIN = Options()
READERS = ("files.raw_file", "files.parquet_file")
WRITERS = ("preparation.keys", "preparation.storing", "preparation.encoding")


def cut_chunks(monkeypatch: pytest.MonkeyPatch, rows: int, modules: tuple[str, ...] = READERS) -> None:
    """Chunks of so many rows; modules import the number by name, so each has its own."""
    for module in modules:
        monkeypatch.setattr(f"training.datasets.{module}.CHUNK", rows)


def write_files(folder: Path, frame: pl.DataFrame, count: int) -> None:
    """A frame as `count` CSV files of consecutive rows in a folder."""
    folder.mkdir(parents=True)
    size = -(-len(frame) // count)
    for number in range(count):
        frame[number * size : (number + 1) * size].write_csv(folder / f"part-{number:02d}.csv")


def write_shop_files(
    raw: Path, count: int = 7, frame: pl.DataFrame | None = None, user_files: int = 3, schema: str | None = None
) -> Path:
    """The shop with its interactions in `count` files and its users in some."""
    changes = {} if schema is None else {"schema": schema}
    write_shop(raw, interactions=None, users=None, **changes)
    write_files(raw / "interactions", interactions() if frame is None else frame, count)
    write_files(raw / "users", users(), user_files)
    return raw


def prepared(raw: Path, out: Path, options: Options = PLAIN) -> Prepared:
    """Prepare a folder of tables."""
    write_prepared(read_tables(raw), out, options)
    return Prepared.open(out)


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def contents(data: Prepared) -> dict[str, object]:
    """All that a data set says, parts put together; the digest of its tables is of their bytes, so it is left out."""
    found: dict[str, object] = {}
    for file in data.path.rglob("*"):
        name = str(file.relative_to(data.path))
        if file.suffix == ".parquet":
            folder = file.parent
            parts = [pl.read_parquet(part, glob=False) for part in sorted(folder.glob("*.parquet"))]
            found[str(folder.relative_to(data.path))] = pl.concat(parts).to_dict(as_series=False)
        elif file.name == "prepared.json":
            found[name] = json.loads(file.read_bytes()) | {"digest": ""}
        elif file.is_file():
            found[name] = file.read_bytes()
    return found


def command(raw: Path, out: Path, *more: str, rows: int = 25) -> list[str]:
    """`prepare table` in a process of its own, with chunks of so many rows."""
    code = (
        f"import sys, training.datasets.partitions as p; p.CHUNK = {rows}; from contract.command import run; "
        "from training.__main__ import main; sys.exit(run(main))"
    )
    return [sys.executable, "-c", code, "prepare", "table", "--raw", str(raw), "--out", str(out), *more]
