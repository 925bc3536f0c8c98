"""A small shop as raw files: 40 users, 12 items, 400 impressions; each test breaks one thing of it."""

from pathlib import Path

import polars as pl
import yaml
from hypothesis import settings

PATIENT = settings(deadline=None, max_examples=50)  # a busy machine is no failure
ROWS, USERS, ITEMS = 400, 40, 12
SCHEMA = """\
user_key: user_id
item_key: item_id
time: timestamp
fields:
  - {name: user_id, side: user}
  - {name: age, side: user, kind: numeric}
  - {name: tags, side: user, kind: multi, max_length: 3}
  - {name: city, side: user}
  - {name: item_id, side: item}
  - {name: price, side: item, kind: numeric, transform: log1p, default: 5}
  - {name: device, side: context}
  - {name: position, side: cross, default: "1"}
tasks:
  - {name: ctr, label: click}
  - {name: cvr, label: conversion, space: ctr}
split: {by: time, train: 0.7, validation: 0.1}
"""


def interactions() -> pl.DataFrame:
    """Ten positions a request; `city` is known at the moment only, and changes over time."""
    row = pl.int_range(ROWS, eager=True)
    request = row // 10
    click = (row * 7 % 11 == 0).cast(pl.Int8)
    return pl.DataFrame(
        {
            "user_id": "u" + (request * 3 % USERS).cast(pl.String),
            "item_id": "00" + (row * 5 % ITEMS).cast(pl.String),
            "timestamp": 1_767_225_600 + request * 60,
            "city": "c" + (request % 4).cast(pl.String),
            "device": "d" + (request % 3).cast(pl.String),
            "position": (row % 10 + 1).cast(pl.String),
            "click": click,
            "conversion": click * (row % 2).cast(pl.Int8),
        }
    )


def users() -> pl.DataFrame:
    """One user more than the interactions know, and without the last ten."""
    number = [*range(USERS - 10), 99]
    return pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in number],
            "age": [None if i % 7 == 0 else 20 + i for i in number],
            "tags": [None if i % 5 == 0 else "|".join(f"t{j}" for j in range(i % 4 + 1)) for i in number],
        }
    )


def items() -> pl.DataFrame:
    """Prices with one missing."""
    return pl.DataFrame(
        {"item_id": [f"00{i}" for i in range(ITEMS)], "price": [None if i == 3 else 1.5 * i for i in range(ITEMS)]}
    )


def write_shop(folder: Path, **changes: pl.DataFrame | str | None) -> Path:
    """Write the shop's files; a change by stem puts another frame or text in a file's place, or leaves it out."""
    folder.mkdir(exist_ok=True)
    frames = {"interactions": interactions(), "users": users(), "items": items()}
    for stem, content in (frames | {k: v for k, v in changes.items() if k != "schema"}).items():
        if isinstance(content, pl.DataFrame):
            content.write_csv(folder / f"{stem}.csv")
        elif content is not None:
            (folder / f"{stem}.csv").write_text(content)
    (folder / "schema.yaml").write_text(str(changes.get("schema", SCHEMA)))
    return folder


def schema_with(**changes: object) -> str:
    """The shop's schema as YAML, with other top-level keys."""
    return yaml.safe_dump(yaml.safe_load(SCHEMA) | changes, sort_keys=False)
