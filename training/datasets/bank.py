"""Source `bank`: UCI Bank Marketing, `bank-additional-full.csv`: 41,188 calls of a bank, two tasks of each call.

`subscribed` (binary) says whether the client took the deposit; `duration` (continuous) is log1p of the call's length in
seconds. The binary task comes first and the continuous core last, as HTLNet orders its chain. Neither label is an input
of either task: who knows how long a call lasted knows how it ended. A client stands for a user whose features are
stored, the call and the economy of its day for the context; there are no items.
"""

import zipfile
from pathlib import Path

import polars as pl

from contract.errors import DataError
from contract.schema import Field, Kind, Schema, Side, Split, Task
from training.datasets.raw import HeldRaw, RawColumn, RawTable
from training.datasets.splits import permuted

ARCHIVE, FILE = "bank-additional.zip", "bank-additional-full.csv"
CLIENT = ("age", "job", "marital", "education", "default", "housing", "loan", "pdays", "previous", "poutcome")
ECONOMY = ("emp.var.rate", "cons.price.idx", "cons.conf.idx", "euribor3m", "nr.employed")
CALL = ("contact", "month", "day_of_week", "campaign", *ECONOMY)  # known before anybody picks up
LABELS = ("duration", "y")
PART = ":part"
FIXED = Split(train=0.7, validation=0.1)  # the benchmark's, by a permutation
NUMERIC = ("age", *ECONOMY)  # `pdays` is not: 999 stands for never
COUNTS = ("previous", "campaign")


def read_bank(raw: Path) -> HeldRaw:
    """Read the archive, the CSV inside it, or a folder that holds either."""
    where, calls = _calls(raw)
    client = pl.Series("client", range(len(calls)), dtype=pl.Int64)
    labels = pl.DataFrame({"label_subscribed": _subscribed(where, calls), "label_duration": _duration(where, calls)})
    part = permuted(FIXED, len(calls)).alias(PART)
    interactions = pl.concat([client.to_frame(), calls.select(CALL), labels, part.to_frame()], how="horizontal")
    users = calls.select(client, *CLIENT)
    return HeldRaw("bank", bank_schema(), RawTable.of(where, interactions), RawTable.of(where, users))


def bank_schema() -> Schema:
    """Inputs and tasks; the split is fixed: 70/10/20 by a permutation with the schema's default seed."""
    sides = ((Side.USER, CLIENT), (Side.CONTEXT, CALL))
    return Schema(
        user_key="client",
        fields=tuple(_field(name, side) for side, names in sides for name in names),
        tasks=(
            Task(name="subscribed", label="label_subscribed"),
            Task(name="duration", kind="continuous", label="label_duration"),
        ),
        split=Split(by="column", column=PART),
    )


def _field(name: str, side: Side) -> Field:
    if name in COUNTS:
        return Field(name=name, side=side, kind=Kind.NUMERIC, transform="log1p")
    return Field(name=name, side=side, kind=Kind.NUMERIC if name in NUMERIC else Kind.CATEGORICAL)


def _subscribed(where: str, calls: pl.DataFrame) -> pl.Series:
    answers = RawColumn(f"{where}: column 'y'", calls["y"])
    answers.refuse(~calls["y"].is_in(["yes", "no"]).fill_null(False), "{} is neither yes nor no")
    return calls["y"] == "yes"


def _duration(where: str, calls: pl.DataFrame) -> pl.Series:
    seconds = RawColumn(f"{where}: column 'duration'", calls["duration"])
    numbers = seconds.numbers()
    seconds.refuse(~(numbers >= 0).fill_null(False), "{} is not a duration in seconds")
    return numbers.log1p()


def _calls(raw: Path) -> tuple[str, pl.DataFrame]:
    """Where the rows were read, and all columns as texts."""
    path = _locate(raw)
    where, content = _unpacked(path) if path.suffix == ".zip" else (str(path), path)
    try:
        calls = pl.read_csv(content, separator=";", infer_schema=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{where}: cannot be read: {str(error).splitlines()[0]}") from None
    if missing := [name for name in (*CLIENT, *CALL, *LABELS) if name not in calls.columns]:
        raise DataError(f"{where}: not {FILE} of UCI Bank Marketing: no column '{missing[0]}'; cells end at ;")
    if not len(calls):
        raise DataError(f"{where}: has no rows")
    return where, calls


def _locate(raw: Path) -> Path:
    places = (raw / FILE, raw / ARCHIVE.removesuffix(".zip") / FILE, raw / ARCHIVE) if raw.is_dir() else (raw,)
    if found := [path for path in places if path.is_file()]:
        return found[0]
    raise DataError(f"{places[-1]}: no such file; --raw names {ARCHIVE}, {FILE}, or the folder of either")


def _unpacked(archive: Path) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(archive) as content:
            for name in content.namelist():
                if Path(name).name == FILE:
                    return f"{archive}: {name}", content.read(name)
            held = ", ".join(name for name in content.namelist() if not name.endswith("/")) or "nothing"
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive}: cannot be read: {error}") from None
    raise DataError(f"{archive}: no {FILE} inside, but {held[:200]}; unpack the right one and name it")
