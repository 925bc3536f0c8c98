"""Latency against offered load: a line a server, p99 solid, p50 thin; SVG and PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from contract.files import whole_file
from loadtest.bench.climb import Step

# after Okabe and Ito (2008) and Tol (2021): told apart with any colour vision
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#B8860B", "#332288", "#882255", "#7A7A7A")
_STYLE: Any = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "twinscore",
}


def draw(climbs: Mapping[str, Sequence[Step]], size: int, title: str) -> Figure:
    """Latency is logarithmic, the offered load in items a second; a cross where requests failed."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(8, 5))
        axes = figure.subplots()
        for name, steps, colour in zip(climbs, climbs.values(), _repeated(len(climbs)), strict=True):
            offered = [step.offered * size for step in steps]
            axes.plot(offered, [step.p50 for step in steps], color=colour, lw=0.8, alpha=0.6)
            axes.plot(offered, [step.p99 for step in steps], "o-", color=colour, lw=1.8, ms=3.5, label=name)
            failing = [step for step in steps if step.failures]
            axes.plot([one.offered * size for one in failing], [one.p99 for one in failing], "x", color=colour, ms=9)
        axes.set(yscale="log", title=title, ylabel="latency, ms (p99; thin: p50)")
        axes.set_xlim(left=0)
        axes.set_xlabel("offered load, items/s")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.25, which="both", lw=0.5)
        axes.legend(frameon=False)
    return figure


def save(figure: Figure, path: Path) -> list[Path]:
    """As SVG and PNG beside `path`; the files."""
    files = [path.with_suffix(suffix) for suffix in (".svg", ".png")]
    for file in files:
        with whole_file(file) as temporary:
            metadata: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {}
            figure.savefig(temporary, format=file.suffix[1:], dpi=150, metadata=metadata)
    return files


def _repeated(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]
