"""A synthetic log on disk, file by file: what is there already is not drawn again."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from contract.errors import ConfigError
from contract.files import whole_file, write_text
from training.datasets.partitions import CHUNK, Partition
from training.datasets.schema_file import write_schema_file
from training.datasets.synthetic.oracle import COLUMNS
from training.datasets.synthetic.spec import Spec
from training.datasets.synthetic.tables import GENERATOR, draw

SPEC, SCHEMA, ROW_GROUP = "synthetic.json", "schema.yaml", 131_072


class Part(NamedTuple):
    """A file, and the rows that it holds."""

    path: Path
    partition: Partition


def claim(folder: Path, spec: Spec, form: str) -> None:
    """Make the folder that of this log and format; ConfigError where it is something else's."""
    told: dict[str, Any] = {"generator": GENERATOR, "format": form, "spec": asdict(spec)}
    file = folder / SPEC
    if file.is_file():
        known = json.loads(file.read_bytes())
        if {name: known.get(name) for name in told} != told:
            raise ConfigError(f"{folder}: holds another synthetic log (see {SPEC}); choose another --out, or remove it")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists and is not a synthetic log; choose another --out")
    else:
        write_text(file, json.dumps(told, indent=1) + "\n")


def parts(folder: Path, spec: Spec, rows: int = CHUNK) -> list[Part]:
    """All Parquet files of a log, of so many rows each: users/, items/, interactions/."""
    raw = draw(spec, partition=rows)
    tables = {"users": raw.users, "items": raw.items, "interactions": raw.interactions}
    return [
        Part(folder / name / f"part-{number:05}.parquet", partition)
        for name, table in tables.items()
        if table is not None
        for number, partition in enumerate(table.partitions)
    ]


def write_parquet(folder: Path, spec: Spec, files: list[Part], done: Callable[[Part], None]) -> None:
    """Write the files that are not there, each whole; last the schema, without which `table` reads nothing."""
    for part in files:
        if not part.path.is_file():
            for left in part.path.parent.glob(f".{part.path.name}.*.part"):  # of a run that was killed
                left.unlink()
            frame = pl.concat([chunk.frame for chunk in part.partition.chunks()])
            with whole_file(part.path) as temporary:
                frame.write_parquet(temporary, row_group_size=ROW_GROUP)
        done(part)
    write_schema_file(folder / SCHEMA, draw(spec).schema)


def read_back(files: list[Part]) -> Iterator[pl.DataFrame]:
    """Labels and truth of the interactions."""
    for part in files:
        if part.path.parent.name == "interactions":
            yield pl.read_parquet(part.path, columns=[*COLUMNS, "truth:conversion_time"], glob=False)
