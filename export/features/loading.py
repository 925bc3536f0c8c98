"""A whole load: a generation beside the live one, then one SET that switches every reader."""

from collections import deque
from collections.abc import Callable

from contract.schema import Side
from export.features.generations import Load, used_memory
from export.features.report import Report
from export.features.target import Target

_IN_FLIGHT = 2  # chunks that are on their way while the next is encoded


def load(target: Target, report: Report, *, force: bool) -> None:
    """Write the tables and switch to them; nothing where they are live already."""
    generations = target.generations
    if not force and target.is_live():
        report.say(f"generation {generations.live} is loaded already")
        return
    name = generations.name(target.digest)
    key = target.progress_key(name)
    if force or name == generations.live:  # rows were lost, or expire: what the progress says is no longer true
        target.nodes.ask("DEL", key)
    progress = Load(target.nodes, key, target.ttl, target.begun)
    all_new = progress.anew and name != generations.live
    generations.begin(name)
    before = used_memory(target.nodes.wires)
    written = sum(_write(target, side, name, progress, report) for side in target.tables)
    target.check(name, progress.started)
    memory = used_memory(target.nodes.wires) - before if all_new else None
    said = report.figures(written, memory)
    generations.note(name, target.stamp(progress.started))
    generations.go_live(name)
    report.say(f"{target.rows:,} rows live as generation {name}{said}")
    if target.ttl is not None:
        report.expire(target.ttl, progress.started)


def _write(target: Target, side: Side, generation: str, progress: Load, report: Report) -> int:
    """Write the rows of one side that are not there yet; how many."""
    table, base, done = target.tables[side], target.base(generation, side), progress.done(side)
    sent: deque[tuple[Callable[[], None], int]] = deque()
    with report.progress(f"{side} rows", done, len(table)) as show:

        def settle(left: int) -> None:
            while len(sent) > left:
                arrived, end = sent.popleft()
                arrived()
                progress.reached(side, end)
                show(end)

        try:
            for chunk in table.chunks(done):
                sent.append((target.nodes.write(base, chunk.keys, chunk.rows, target.ttl), chunk.end))
                settle(_IN_FLIGHT)
        finally:  # what arrives counts, whatever went wrong here
            settle(0)
    return max(0, len(table) - done)
