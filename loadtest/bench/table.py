"""The benchmark's table, and the figures behind it."""

from dataclasses import asdict
from statistics import median
from typing import Any

from loadtest.bench.cells import Cell, Measured, Sample
from loadtest.floors import MODEL, WHOLE

_HEADS = ("candidates", "", "connections", "requests/s", "items/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU ms/request")
_MORE = ("Redis CPU ms/request", "RSS MiB", "cache hits", "of session.run", "of MGET + run", "spread")
_TEXT = 1  # the column that is aligned to the left


def table(measured: Measured) -> str:
    """Markdown, medians over the rounds; shares are of the floors at the same number of candidates."""
    heads = (*_HEADS, *_MORE)
    lines = [_line(heads), _line(["---" if place == _TEXT else "--:" for place in range(len(heads))])]
    rates = {cell: _typical_rate(rounds) for cell, rounds in measured.cells.items()}
    for cell, rounds in sorted(measured.cells.items(), key=lambda item: _place(item[0], list(rates))):
        shares = [f"{rates[cell] / rates[cell[0], floor, 0]:.2f}" for floor in (MODEL, WHOLE)]
        lines.append(_line([*_figures(cell, rounds), *shares, f"{_spread(rounds):.0%}"]))
    return "\n".join([*lines, *(f"\n{name} is left out: {why}" for name, why in measured.failed.items())])


def raw(measured: Measured) -> dict[str, Any]:
    """Every sample, for JSON."""
    names = ("candidates", "server", "connections")
    cells = [
        dict(zip(names, cell, strict=True)) | {"rounds": [asdict(sample) for sample in rounds]}
        for cell, rounds in measured.cells.items()
    ]
    return {"cells": cells, "failed": measured.failed}


def _place(cell: Cell, cells: list[Cell]) -> tuple[int, int, int]:
    """By candidates, then floors, then connections, then as they were measured."""
    size, _, connections = cell
    return size, connections, cells.index(cell)


def _figures(cell: Cell, rounds: list[Sample]) -> list[str]:
    size, name, connections = cell
    rate = _typical_rate(rounds)
    times = (median(getattr(one.figures, name) for one in rounds) for name in ("p50", "p99", "p999"))
    hits = [one.hits for one in rounds if one.hits is not None]
    costs = (median(one.cpu for one in rounds), median(one.redis_cpu for one in rounds))
    return [
        str(size),
        name,
        str(connections or "–"),
        f"{rate:,.0f}",
        f"{rate * size:,.0f}",
        *(f"{milliseconds:.2f}" for milliseconds in times),
        *(f"{milliseconds:.3f}" for milliseconds in costs),
        f"{median(one.rss for one in rounds):,.0f}",
        f"{median(hits):.1%}" if hits else "–",
    ]


def _typical_rate(rounds: list[Sample]) -> float:
    return median(one.figures.requests_per_second for one in rounds)


def _spread(rounds: list[Sample]) -> float:
    rates = [one.figures.requests_per_second for one in rounds]
    return (max(rates) - min(rates)) / _typical_rate(rounds)


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
