"""A delta: what differs from the live generation is written into it, row by row, and nothing else.

What differs is found by reading what is there: it needs no older data set, cannot be told of the wrong one, and finds
rows that were lost. A run that was cut off is begun again, and finds what it wrote to be equal.
"""

from contract.errors import StoreError
from contract.schema import Side
from contract.stamp import Stamp
from export.features.report import Report
from export.features.tables import Rows
from export.features.target import Target


def add(target: Target, report: Report) -> None:
    """Write what is new or changed; rows of users and items that are in the data set no more stay."""
    generations = target.generations
    name, base = generations.live, _base(target)
    if target.is_live():
        report.say(f"generation {name} holds these tables already")
        return
    generations.note(name, base.model_copy(update={"pending": target.digest}))
    counts = [_write(target, side, name, report) for side in target.tables]
    target.check(name, target.begun)
    deltas = base.deltas if base.digest == target.digest else (*base.deltas, target.digest)
    generations.note(name, target.stamp(target.begun).model_copy(update={"deltas": deltas}))
    new, changed = (sum(of_side) for of_side in zip(*counts, strict=True))
    said = f"{new:,} rows new and {changed:,} changed of {target.rows:,} in generation {name}"
    report.say(said + report.figures(target.rows))
    if target.ttl is not None:
        report.expire(target.ttl, target.begun)


def _base(target: Target) -> Stamp:
    """What is live; StoreError where a delta cannot be put on it."""
    name, stamp = target.generations.live, target.generations.stamp
    if not name:
        raise StoreError("nothing is live that a delta could change; load the tables without --delta first")
    if stamp is not None and stamp.ttl is not None and target.ttl is None:
        raise StoreError(f"the live rows expire after {stamp.ttl} s; give --ttl with --delta, which renews all of them")
    return stamp or Stamp(digest=name, prepared=0, written=0)


def _write(target: Target, side: Side, generation: str, report: Report) -> tuple[int, int]:
    """New and changed rows of one side."""
    table, base, new, changed = target.tables[side], target.base(generation, side), 0, 0
    with report.progress(f"{side} rows", 0, len(table)) as show:
        for chunk in table.chunks(0):
            stored = target.nodes.read(base, chunk.keys)()
            other = [place for place, row in enumerate(chunk.rows) if row != stored[place]]
            _send(target, base, chunk, other)
            new_here = sum(stored[place] is None for place in other)
            new, changed = new + new_here, changed + len(other) - new_here
            show(chunk.end)
    return new, changed


def _send(target: Target, base: bytes, chunk: Rows, other: list[int]) -> None:
    if target.ttl is not None:
        target.nodes.renew(base, chunk.keys, target.ttl)()
    if other:
        keys, rows = [chunk.keys[place] for place in other], [chunk.rows[place] for place in other]
        target.nodes.write(base, keys, rows, target.ttl)()
