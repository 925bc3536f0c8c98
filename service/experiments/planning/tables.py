"""Tables for a terminal: columns aligned, numbers to the right."""

from collections.abc import Iterable, Sequence

_NUMERIC = frozenset("0123456789.,%+-±∞ ")


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "  ") -> list[str]:
    """Lines of a table; a column whose cells are all numbers stands to the right."""
    body = [list(row) for row in rows]
    columns = list(zip(heading, *body, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell and not set(cell) - _NUMERIC for cell in column[1:]) for column in columns]
    return [
        indent + "  ".join(_aligned(*cell) for cell in zip(row, widths, right, strict=True)).rstrip()
        for row in (heading, *body)
    ]


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
