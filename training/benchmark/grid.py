"""The report of a sweep: share of the oracle's lift by option, model and target, as a plot and a table."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from training.benchmark.comparison import seed_interval
from training.benchmark.document import Block, Figure, Grid, Heading, Text, number
from training.benchmark.look import FAINT, colour, label_points, styled, svg
from training.benchmark.plan import Entry
from training.benchmark.runs import Outcome

Cell = Mapping[str, str]  # option → value


class Point(NamedTuple):
    """A run of an entry on the log of a cell and a data seed."""

    cell: Cell
    entry: str
    seed: int
    outcome: Outcome


def grid_blocks(points: Sequence[Point], entries: Sequence[Entry], options: str) -> list[Block]:
    """What is in the report."""
    done = [point for point in points if not point.outcome.error]
    blocks: list[Block] = [Text(_lead(done, options), lead=True)]
    targets = _targets(done)
    if targets:
        caption = "Share of the oracle's lift, (soft AUC − 0.5) / (oracle's − 0.5)"
        told = f"{caption}: each data seed faint, lines through the means. Soft AUC is against the true probabilities."
        blocks += [Text(told), Figure("sweep", sweep_plot(done, entries), caption)]
        for target in targets:
            blocks += [Heading(target), _table(done, entries, target)]
    if failed := [point for point in points if point.outcome.error]:
        rows = [[_named(p.cell), p.entry, str(p.seed), p.outcome.error or ""] for p in failed]
        blocks += [Heading("Failed"), Grid(["log", "model", "seed", "error"], rows, texts=(0, 1, 3))]
    return blocks


def sweep_plot(points: Sequence[Point], entries: Sequence[Entry]) -> str:
    """A row a target, a column a value of the second option, a line a model."""
    first, *second = points[0].cell
    columns = _values(points, second[0]) if second else [""]
    targets, xs = _targets(points), _values(points, first)
    with styled():
        figure = Canvas(figsize=(2.7 * len(columns) + 1.4, 2.5 * len(targets) + 0.3))
        panels = figure.subplots(len(targets), len(columns), squeeze=False, sharey="row", sharex=True)
        for target, row in zip(targets, panels, strict=True):
            for value, axes in zip(columns, row, strict=True):
                inside = [p for p in points if not second or p.cell[second[0]] == value]
                ends = [end for entry in entries if (end := _line(axes, inside, entry, target, first, xs))]
                axes.set_title(f"{target}{f', {second[0]} {value}' if second else ''}")
                axes.set_xlabel(first if target == targets[-1] else "")
                axes.tick_params(axis="y", labelcolor=FAINT)
                axes.set_xticks([float(x) for x in xs], xs)
                if value == columns[-1]:
                    label_points(axes, ends)
            row[0].set_ylabel("share of oracle's lift")
        return svg(figure)


def _line(
    axes: Axes, points: Sequence[Point], entry: Entry, target: str, option: str, xs: Sequence[str]
) -> tuple[float, float, str, str] | None:
    """Draw one model; where its line ends."""
    ink, solid = colour(entry.model), not entry.own
    places: list[tuple[float, float]] = []
    for x in xs:
        values = _shares([p for p in points if p.entry == entry.name and p.cell[option] == x], target)
        if values:
            axes.plot([float(x)] * len(values), values, "o", ms=3, color=ink, alpha=0.35, mew=0)
            places.append((float(x), mean(values)))
    if not places:
        return None
    axes.plot(
        *zip(*places, strict=True), "o-" if solid else "o--", ms=4.5, lw=1.5, color=ink, mfc=ink if solid else "w"
    )
    return (*places[-1], entry.name, ink)


def _table(points: Sequence[Point], entries: Sequence[Entry], target: str) -> Grid:
    """A row a cell, a column a model, and each model's paired gain over the first with its interval over data seeds."""
    base, *others = [entry.name for entry in entries]
    rows = []
    for cell in {_named(p.cell): p.cell for p in points}.values():
        inside = [p for p in points if p.cell == cell]
        by_entry = {
            entry.name: {p.seed: p.outcome.share.get(target) for p in inside if p.entry == entry.name}
            for entry in entries
        }
        cells = [_mean(list(by_entry[name].values())) for name in (base, *others)]
        rows.append([_named(cell), *cells, *(_gain(by_entry[name], by_entry[base]) for name in others)])
    return Grid(["log", base, *others, *(f"{name} − {base}" for name in others)], rows)


def _gain(own: Mapping[int, float | None], base: Mapping[int, float | None]) -> str:
    pairs = [a - b for seed, a in own.items() if a is not None and (b := base.get(seed)) is not None]
    if not pairs:
        return "–"
    half = seed_interval(pairs)
    return number(mean(pairs), 3, signed=True) + (f" ± {half:.3f}" if half == half else "")


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return number(mean(known), 3) + (f" ± {stdev(known):.3f}" if len(known) > 1 else "")


def _lead(points: Sequence[Point], options: str) -> str:
    seeds = len({point.seed for point in points})
    logs = len({_named(point.cell) for point in points})
    return (
        f"{len(points)} runs on {logs} kinds of synthetic log (`prepare synthetic {options}`), {seeds} data seed"
        f"{'s' * (seeds != 1)}: each draws another log and another start. Means ± standard deviation over data seeds; "
        "gains with the 95 % t-interval of pairs on the same log."
    )


def _shares(points: Sequence[Point], target: str) -> list[float]:
    return [share for point in points if (share := point.outcome.share.get(target)) is not None]


def _targets(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(name for p in points for name, share in p.outcome.share.items() if share is not None))


def _values(points: Sequence[Point], option: str) -> list[str]:
    return sorted({point.cell[option] for point in points}, key=float)


def _named(cell: Cell) -> str:
    return ", ".join(f"{option} {value}" for option, value in cell.items())
