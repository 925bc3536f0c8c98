"""Stored tables, encoded: chunks of a side's own table, ids that only the log knows, latest values; in row order."""

from collections.abc import Iterator, Sequence

from contract.schema import Field, Side
from training.datasets.partitions import CHUNK
from training.datasets.preparation.encoding import Piece, Range, Storing, assemble, store
from training.datasets.preparation.keys import Rows
from training.datasets.preparation.mapping import Mapper
from training.datasets.preparation.seen import Tallies, total
from training.datasets.preparation.work import CodedChunk, Work
from training.datasets.prepared import Prepared


def write_table(
    side: Side,
    rows: Rows,
    chunks: Sequence[CodedChunk],
    stored: tuple[Field, ...],
    latest: Sequence[Piece],
    fields: tuple[Field, ...],
    work: Work,
    earlier: Prepared | None,
    key: str | None,
    mapper: Mapper,
) -> Tallies:
    """Write `users/` or `items/`; later pieces go over earlier ones, and all over what an earlier data set had.

    Returns the counts of its fields over the impressions that show rows of `chunks`.
    """
    own = list(mapper(store, [Storing(chunk, side, stored, work.shown(side), work) for chunk in chunks]))
    pieces, before = [*(each.piece for each in own), *latest], None if earlier is None else earlier.path
    units = [
        Range(side, fields, start, stop, _overlapping(pieces, start, stop), before, key, work)
        for start, stop in _ranges(rows.count)
    ]
    for _ in mapper(assemble, units):
        pass
    return total(each.seen for each in own)


def _ranges(count: int) -> Iterator[tuple[int, int]]:
    """At least one, so that an empty table has its columns."""
    for start in range(0, max(count, 1), CHUNK):
        yield start, min(start + CHUNK, count)


def _overlapping(pieces: Sequence[Piece], start: int, stop: int) -> tuple[Piece, ...]:
    return tuple(piece for piece in pieces if piece.low < stop and piece.high >= start)
