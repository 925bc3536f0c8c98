"""The look of all plots: a colour a model, thin axes, labels beside what they name; SVG text, the same each time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, RULE = "#1b1f24", "#59636e", "#d0d5da"
# after Okabe and Ito (2008) and Tol (2021): told apart with any colour vision
COLOURS = {
    "ple": "#0072B2",
    "dtn": "#D55E00",
    "mmoe": "#009E73",
    "shared_bottom": "#56B4E9",
    "single_task": "#7A7A7A",
    "esmm": "#CC79A7",
    "aitm": "#B8860B",
    "stem": "#332288",
    "htlnet": "#882255",
}
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Liberation Sans", "Arial", "Helvetica", "DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": INK,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "twinscore",
}


@contextmanager
def styled() -> Iterator[None]:
    """The look, for figures drawn inside the block."""
    with rc_context(STYLE):
        yield


def svg(figure: Figure) -> str:
    """The figure as SVG, without a date."""
    stream = StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def colour(model: str) -> str:
    """Of a model, its variants included."""
    return COLOURS.get(model, INK)


def label_points(axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Name points (x, y, text, colour) beside them, moved up or down until no two names overlap."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # places the axes
    taken: list[tuple[float, float, float]] = []  # left, right, middle in points
    scale = 72 / axes.figure.dpi
    for x, y, text, ink in sorted(points, key=lambda point: -point[1]):
        left, middle = axes.transData.transform((x, y)) * scale
        left, right = left + 7, left + 9 + 5.2 * len(text)
        height = middle
        while any(left < end and right > start and abs(height - at) < 11 for start, end, at in taken):
            height -= 1
        taken.append((left, right, height))
        axes.annotate(
            text,
            (x, y),
            xytext=(7, height - middle),
            textcoords="offset points",
            va="center",
            color=ink,
            arrowprops={"arrowstyle": "-", "color": RULE, "lw": 0.7, "shrinkB": 2}
            if abs(height - middle) > 5
            else None,
        )
