"""A prepared data set whose every number is known, with or without leaks in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from contract.dictionary import Dictionary
from contract.field import Encoding, Field, Kind, Side
from contract.schema import Schema, Task
from training.datasets.prepared import SPLITS, Description, Prepared, SplitName

ROWS: dict[SplitName, int] = {"train": 6000, "validation": 2000, "test": 2000}
USERS, ITEMS = 300, 40
DEVICES = ("phone", "tablet", "television")
NOTES = {"conversions without a click": 1234}
TASKS = (Task(name="ctr", label="click"), Task(name="cvr", label="conversion", space="ctr"))
FIELDS = (
    Field(name="user_id", side=Side.USER, size=USERS + 1, lineage="u"),
    Field(name="age", side=Side.USER, kind=Kind.NUMERIC),
    Field(name="tags", side=Side.ITEM, kind=Kind.MULTI, max_length=3, size=9, buckets=8, encoding=Encoding.HASH),
    Field(name="device", side=Side.CONTEXT, size=4, lineage="d"),
    Field(
        name="user_device", side=Side.CONTEXT, cross=("user_id", "device"), encoding=Encoding.HASH, buckets=50, size=51
    ),
)
LEAKS = (
    Field(name="outcome", side=Side.CROSS, size=3, buckets=2, encoding=Encoding.HASH),
    Field(name="dwell", side=Side.CROSS, kind=Kind.NUMERIC),
    Field(name="badges", side=Side.CROSS, kind=Kind.MULTI, max_length=3, size=9, buckets=8, encoding=Encoding.HASH),
)


@dataclass(frozen=True)
class Planted:
    """The data set, and its rows by split as a reader without our code would join them."""

    data: Prepared
    rows: dict[SplitName, pl.DataFrame]


def plant(
    folder: Path, leaks: bool = False, source: str = "planted", test: Mapping[str, pl.Series] | None = None
) -> Planted:
    """Write it, each split in two parts; `test` replaces columns of the test split."""
    rng = np.random.default_rng(6)
    users = pl.DataFrame(
        {
            ":key": [f"u{i}" for i in range(USERS)],
            "user_id": pl.Series(np.arange(1, USERS + 1), dtype=pl.Int32),
            "age": pl.Series(rng.integers(18, 80, USERS), dtype=pl.Float32),
        }
    )
    items = pl.DataFrame(
        {
            ":key": [f"i{i}" for i in range(ITEMS)],
            "tags": pl.Series(rng.integers(0, 9, (ITEMS, 3)).astype(np.int32), dtype=pl.Array(pl.Int32, 3)),
        }
    )
    schema = Schema(user_key="user", item_key="item", fields=FIELDS + (LEAKS if leaks else ()), tasks=TASKS)
    frames: dict[SplitName, pl.DataFrame] = {}
    for split in SPLITS:
        frames[split] = _impressions(rng, ROWS[split], leaks)
        if split == "test":
            frames[split] = frames[split].with_columns(**(test or {}))
        _write(folder / "interactions" / split, frames[split])
    _write(folder / "users", users)
    _write(folder / "items", items)
    Dictionary.build({f"u{i}": USERS - i for i in range(USERS)}).save(_made(folder / "dictionaries") / "user_id.npz")
    Dictionary.build({name: 3 - i for i, name in enumerate(DEVICES)}).save(folder / "dictionaries" / "device.npz")
    schema.save(folder / "schema.json")
    description = Description(source=source, rows=ROWS, users=USERS, items=ITEMS, digest="0", rejected=3, notes=NOTES)
    (folder / "prepared.json").write_text(description.model_dump_json())
    joined = {split: _joined(frame, users, items) for split, frame in frames.items()}
    return Planted(Prepared.open(folder), joined)


def _impressions(rng: np.random.Generator, rows: int, leaks: bool) -> pl.DataFrame:
    device = rng.integers(0, 4, rows).astype(np.int32)
    chance = np.array([0.05, 0.1, 0.2, 0.4], np.float32)[device]
    click = rng.random(rows) < chance
    conversion = click & (rng.random(rows) < 0.3)
    columns = {
        ":user": rng.integers(0, USERS, rows).astype(np.int32),
        ":item": rng.integers(0, ITEMS, rows).astype(np.int32),
        "label:ctr": click.astype(np.float32),
        "truth:ctr": chance,
        "label:cvr": conversion.astype(np.float32),
        "device": device,
    }
    frame = pl.DataFrame(columns)
    if not leaks:
        return frame
    badges = rng.integers(0, 8, (rows, 3)).astype(np.int32)
    badges[click, 0] = 8
    return frame.with_columns(
        outcome=pl.Series(1 + click.astype(np.int32)),
        dwell=pl.Series((rng.normal(size=rows) - 2.66 * click).astype(np.float32)),  # AUC .97, the lower the likelier
        badges=pl.Series(badges, dtype=pl.Array(pl.Int32, 3)),
    )


def _joined(frame: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    user, item = users[frame[":user"].to_numpy()], items[frame[":item"].to_numpy()]
    return pl.concat([frame, user.drop(":key"), item.drop(":key")], how="horizontal")


def _write(folder: Path, frame: pl.DataFrame) -> None:
    half = len(frame) // 2
    _made(folder)
    frame[:half].write_parquet(folder / "part-00000.parquet")
    frame[half:].write_parquet(folder / "part-00001.parquet")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
