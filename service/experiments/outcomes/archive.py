"""Raw records for audit and replay: Parquet files of batches, in the order in which they were counted.

A file is named by its first and last batch and written whole. Its metadata say where the log went on after it. Two
consumers can never lose a batch here: of files that overlap, a reader skips what it has seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from contract.errors import StoreError
from contract.files import whole_file
from service.experiments.outcomes.batch import Batch
from service.experiments.outcomes.entry import Entry, Offset, Position, entry
from service.experiments.outcomes.sums import PhaseRules

_METADATA = b"twinscore"
_SCHEMA = pa.schema(
    [
        ("sequence", pa.int64()), ("received", pa.int64()), ("part", pa.string()), ("offset", pa.string()),
        ("lane", pa.string()), ("producer", pa.string()), ("number", pa.int64()), ("kind", pa.string()),
        ("time", pa.int64()), ("user", pa.string()), ("record", pa.binary()),
    ]
)  # fmt: skip


class Label(BaseModel):
    """What a file holds."""

    book: str
    first: int  # batch
    last: int
    source: str
    position: Position
    phases: dict[str, PhaseRules] = {}  # how those were counted that were known by then


class Archive:
    """A folder of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, book: str, batches: Sequence[Batch], phases: Mapping[str, PhaseRules]) -> Path:
        """One file of these batches."""
        first, last = batches[0].sequence, batches[-1]
        label = Label(
            book=book, first=first, last=last.sequence, source=last.source, position=last.position, phases=dict(phases)
        )
        schema = _SCHEMA.with_metadata({_METADATA: label.model_dump_json()})
        rows = [_row(batch, each) for batch in batches for each in batch.entries]
        columns = zip(*rows, strict=True)
        table = pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)
        path = self.folder / f"{first:012}-{last.sequence:012}.parquet"
        try:
            with whole_file(path) as temporary:
                pq.write_table(table, temporary, compression="zstd")
        except OSError as error:
            raise StoreError(f"{path}: cannot be written ({error.strerror or error}); see TWINSCORE_ARCHIVE") from None
        return path

    def last(self) -> Label | None:
        """The newest file; None where there is none."""
        files = self.files()
        return max((_label(path) for path in files[-2:]), key=lambda label: label.last, default=None)

    def files(self) -> list[Path]:
        """In order."""
        return sorted(self.folder.glob("*.parquet"))

    def batches(self) -> Iterator[Batch]:
        """All of them, once each."""
        seen = 0
        for path in self.files():
            label = _label(path)
            for batch in _read(path, label):
                if batch.sequence <= seen:
                    continue
                if batch.sequence != seen + 1:
                    raise StoreError(f"{self.folder}: batches {seen + 1} to {batch.sequence - 1} are missing")
                seen = batch.sequence
                yield batch


def _row(batch: Batch, each: Entry) -> tuple[object, ...]:
    record = each.record or {"kind": "malformed"}
    return (
        batch.sequence, batch.received, each.part, str(each.offset), each.lane, record.get("producer"),
        record.get("number"), record["kind"], record.get("time"), record.get("user"), each.raw,
    )  # fmt: skip


def _label(path: Path) -> Label:
    try:
        return Label.model_validate_json(pq.read_schema(path).metadata[_METADATA])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValidationError):
        raise StoreError(f"{path}: no file of this archive; move it away, or set TWINSCORE_ARCHIVE") from None


def _read(path: Path, label: Label) -> Iterator[Batch]:
    names = ["sequence", "received", "part", "offset", "lane", "record"]
    try:
        table = pq.read_table(path, columns=names)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"{path}: damaged: {error}") from None
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    for sequence, group in groupby(rows, itemgetter(0)):
        entries, received = list[Entry](), 0
        for _, received, part, offset, lane, raw in group:  # noqa: B007
            entries.append(entry(part, _offset(offset), raw, lane))
        yield Batch(sequence, received, label.source, label.position, entries)


def _offset(text: str) -> Offset:
    return int(text) if text.isdecimal() else text
