"""The plot of the simulated truth."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import chi2, ncx2

from contract.files import whole_file
from service.experiments.readout.ratio_check import ALARM
from service.experiments.readout.truth import LOST, Truth, noise

_INK, _FAINT, _RULE = "#1b1f24", "#59636e", "#d0d5da"
_GREY, _RED, _BLUE = "#7A7A7A", "#D55E00", "#0072B2"  # told apart with any colour vision
_STYLE = {
    "font.size": 9.5,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _FAINT,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "twinscore",
}


def save(truth: Truth, folder: Path) -> None:
    """Write truth.svg and truth.png."""
    with rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(10, 7.2))
        first, second, third, fourth = figure.subplots(2, 2).flat
        _peeks(first, truth)
        _coverage(second, truth)
        _power(third, truth)
        _sample_ratio(fourth, truth)
        for kind, metadata in (("svg", {"Date": None}), ("png", {})):
            with whole_file(folder / f"truth.{kind}") as path:
                figure.savefig(path, format=kind, dpi=150, metadata=metadata)


def _peeks(axes: Axes, truth: Truth) -> None:
    looks = range(1, truth.looks + 1)
    for shares, colour, name in (
        (truth.impressions, _GREY, "z-test over impressions"),
        (truth.fixed, _RED, "fixed horizon"),
        (truth.always, _BLUE, "peek-safe"),
    ):
        axes.plot(looks, shares, color=colour, marker="o", markersize=3)
        place = truth.looks, max(shares[-1], truth.alpha)  # a label must not lie on the line of alpha
        axes.annotate(name, place, (-4, 7), textcoords="offset points", ha="right", color=colour)
    _nominal(axes, truth.alpha)
    axes.set(title="A/A: ever significant", xlabel="looks so far", ylim=(0, None), xticks=[1, 5, 10, 15, 20])
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))


def _coverage(axes: Axes, truth: Truth) -> None:
    places = range(len(truth.effects))
    for shift, colour, name, shares in (
        (-0.08, _RED, "fixed horizon, at its one look", [each.covered_fixed for each in truth.effects]),
        (
            0.08,
            _BLUE,
            f"peek-safe, at all {truth.looks} looks at once",
            [each.covered_always for each in truth.effects],
        ),
    ):
        errors = [noise(share, truth.runs) for share in shares]
        axes.errorbar([place + shift for place in places], shares, errors, fmt="o", color=colour, label=name)
    _nominal(axes, 1 - truth.alpha)
    axes.set(title="The interval holds the truth", xlabel="true lift", ylim=(0.9, 1.005), xticks=list(places))
    axes.set_xticklabels([f"{each.lift:.0%}" for each in truth.effects])
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend(frameon=False, loc="lower right")


def _power(axes: Axes, truth: Truth) -> None:
    lifts = [each.lift for each in truth.effects]
    axes.plot(lifts, [each.theory for each in truth.effects], color=_FAINT, linestyle="--", label="theory, one look")
    for colour, name, shares in (
        (_RED, "fixed horizon, one look", [each.found_fixed for each in truth.effects]),
        (_BLUE, f"peek-safe, any of {truth.looks} looks", [each.found_always for each in truth.effects]),
    ):
        errors = [noise(share, truth.runs) for share in shares]
        axes.errorbar(lifts, shares, errors, fmt="o", color=colour, label=name)
    axes.set(title=f"Found, with {truth.users:,} users", xlabel="true lift", ylim=(0, 1.02), xticks=lifts)
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend(frameon=False, loc="upper left")


def _sample_ratio(axes: Axes, truth: Truth) -> None:
    most = max(each.users for each in truth.sample_ratio)
    grid = [most * step / 100 for step in range(1, 106)]
    share = (1 - LOST) / (2 - LOST)
    theory = [float(ncx2.sf(chi2.isf(ALARM, 1), 1, users * (2 * share - 1) ** 2)) for users in grid]
    users = [each.users for each in truth.sample_ratio]
    axes.plot(grid, theory, color=_FAINT, linestyle="--", label="theory")
    axes.plot(users, [each.lost for each in truth.sample_ratio], "o", color=_RED, label=f"an arm loses {LOST:.0%}")
    axes.plot(users, [each.without for each in truth.sample_ratio], "o", color=_BLUE, label="nothing is lost")
    axes.set(title="Sample-ratio alarms", xlabel="users", ylim=(-0.02, 1.02), xlim=(0, None))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.0f}k")
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend(frameon=False, loc="upper left")


def _nominal(axes: Axes, share: float) -> None:
    axes.axhline(share, color=_FAINT, linewidth=0.8, linestyle="--", zorder=0)
