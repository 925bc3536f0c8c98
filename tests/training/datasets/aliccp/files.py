"""Raw files of Ali-CCP written by hand, with the traps of the real ones planted."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from training.datasets.aliccp.layout import IMPRESSION, USER, columns
from training.datasets.aliccp.source import read_aliccp
from training.datasets.partitions import Chunk, Partition, Table
from training.datasets.raw import Raw, RawTable

ALICE, BOB, GONE = "bacff91692951881", "0000000000000012", "ffffffffffffffff"  # Bob's must stay a text
PLAIN = "205:3964447 206:8313062 207:8322056 301:9351665"  # what every impression has


def features(text: str) -> str:
    """`205:3964447 853:10000020=1.5` in the separators of the files; a value is 1.0 where none is given."""
    values = (feature if "=" in feature else f"{feature}=1.0" for feature in text.split())
    return "\x01".join(value.replace(":", "\x02").replace("=", "\x03") for value in values)


def impression(number: int, text: str, labels: str = "0,0", index: str = ALICE, count: int | None = None) -> str:
    """A line of a skeleton."""
    return f"{number},{labels},{index},{len(text.split()) if count is None else count},{features(text)}\n"


def common(index: str, text: str) -> str:
    """A line of a common file."""
    return f"{index},{len(text.split())},{features(text)}\n"


TRAIN = [
    impression(1, f"{PLAIN} 210:9017179 210:9017181 210:9017180 216:9116785", "1,0"),
    impression(2, PLAIN, "0,1"),  # a conversion and no click
    impression(3, f"{PLAIN} 853:10000020=0.5 853:10000021=1.5 853:10000022=0.5 508:9351668=2.3979", "1,1", BOB),
    impression(4, "", "0,0", GONE),  # an empty list, and an index that no common file has
    impression(5, "207:8322057 205:8313061 509:9832206=0.69315", "0,0", BOB),  # in another order, without 206 and 301
]
TEST = [
    impression(1, f"{PLAIN} 702:9832207=1.09861", "0,0", BOB),
    impression(2, "205:3964448 206:9999999 301:9351667 206:8313063", "1,0"),  # 206 out of its range, and twice
]
COMMON_TRAIN = [
    common(ALICE, "101:31 121:3438658 124:3438769 109_14:444863=0.5 109_14:444862=2.5 109_14:444864=0.5 127:3438780"),
    common(BOB, "101:32 110_14:457385=1.0 127_14:3438784=0.69315 150_14:3864891=1.79176"),
]
COMMON_TEST = [
    common(BOB, "101:32 110_14:457385=1.0 127_14:3438784=0.69315 150_14:3864891=1.79176"),  # again, the same
    common(ALICE, "101:31 121:3438659"),  # again, and not the same
    common("0a", "129:3864890"),
]
CONTENT = {
    "sample_skeleton_train.csv": TRAIN,
    "sample_skeleton_test.csv": TEST,
    "common_features_train.csv": COMMON_TRAIN,
    "common_features_test.csv": COMMON_TEST,
}


def write(folder: Path, **changes: list[str]) -> Path:
    """Write the four files; a change by name without suffix takes a file's place."""
    folder.mkdir(exist_ok=True)
    for name, lines in CONTENT.items():
        (folder / name).write_bytes("".join(changes.get(name.removesuffix(".csv"), lines)).encode())
    return folder


def read(folder: Path, history: int = 20, validation: float = 0.1) -> Raw:
    """What the source makes of them."""
    return read_aliccp(folder, validation, history, 1)


def partitions(table: Table | RawTable | None) -> list[Partition]:
    """The partitions of a table."""
    assert isinstance(table, Table)
    return list(table.partitions)


def chunks(table: Table | RawTable | None) -> Iterator[Chunk]:
    """All chunks of a table."""
    for partition in partitions(table):
        yield from partition.chunks()


def frame(table: Table | RawTable | None) -> pl.DataFrame:
    """All rows of a table."""
    return pl.concat([chunk.frame for chunk in chunks(table)])


def values(row: dict[str, object]) -> dict[str, object]:
    """What a row has, features alone."""
    names = (*columns(USER), *columns(IMPRESSION))
    known = {name: value for name, value in row.items() if name in names and value is not None}
    rounded = {name: pytest.approx(value) for name, value in known.items() if name.endswith(":weights")}
    return known | rounded
