"""A heat map of fields by tasks."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.benchmark.document import number
from training.benchmark.look import INK, styled, svg

SHADES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#c9def0", "#5b9ac9", "#0b4f85"])


def heat_map(
    rows: Sequence[str], columns: Sequence[str], shares: NDArray[np.float64], values: NDArray[np.float64]
) -> str:
    """Shade by the root of shares, darkest at each column's largest; values written in; both [rows, columns]."""
    most = shares.max(axis=0)
    shade = np.sqrt(np.divide(shares, most, out=np.zeros_like(shares), where=most > 0))
    with styled():
        figure = Figure(figsize=(1.15 * len(columns) + 2.4, 0.24 * len(rows) + 0.6))
        axes = figure.subplots()
        axes.pcolormesh(shade, cmap=SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
        axes.invert_yaxis()
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontweight="bold", color=INK)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if shade[row, column] > 0.55 else INK
            told = f"{number(value)}  ({shares[row, column]:.0%})"
            axes.text(column + 0.5, row + 0.5, told, ha="center", va="center", color=ink, fontsize=8)
        return svg(figure)
