"""The plots of a benchmark's report."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator

from training.benchmark.comparison import seed_interval
from training.benchmark.look import FAINT, INK, RULE, colour, label_points, styled, svg
from training.benchmark.results import Results, first_metric
from training.benchmark.targets import Target

Models = Mapping[str, str]  # entry → model


def metric_plot(results: Results, models: Models, metric: str) -> str:
    """A panel a target: each seed faint, the mean with its interval over seeds, models from the best down."""
    chosen = _with(results, metric)
    with styled():
        figure, panels = _panels(len(chosen), len(results.names))
        for axes, target in zip(panels, chosen, strict=True):
            for row, name in enumerate(results.names):
                values = results.values(name, target, metric)
                _interval(axes, row, values, colour(models[name]), name == models[name])
            base = results.mean(results.baseline, target, metric) if results.baseline in results.names else None
            if base is not None:
                axes.axvline(base, color=RULE, lw=1, zorder=0)
            axes.set_title(target.name)
            axes.set_xlabel(_axis(metric))
        _names(panels[0], results.names, models)
        return svg(figure)


def difference_plot(results: Results, models: Models) -> str:
    """A panel a target: differences to the baseline; thick over seeds, thin over seeds and test rows together."""
    names = [name for name in results.names if name != results.baseline]
    with styled():
        figure, panels = _panels(len(results.targets), len(names))
        for axes, target in zip(panels, results.targets, strict=True):
            axes.axvline(0, color=FAINT, lw=1, zorder=0)
            for row, name in enumerate(names):
                found = results.difference(name, target)
                if found is None:
                    continue
                ink = colour(models[name])
                axes.plot([found.mean - found.both, found.mean + found.both], [row, row], color=ink, lw=1)
                if found.seeds is not None:
                    ends = [found.mean - found.seeds, found.mean + found.seeds]
                    axes.plot(ends, [row, row], color=ink, lw=3.5, solid_capstyle="butt", alpha=0.55)
                axes.plot([found.mean], [row], "o", ms=5.5, color=ink, mfc="white" if found.noise else ink)
            axes.set_title(target.name)
            axes.set_xlabel(f"{first_metric(target).upper()} minus {results.baseline}'s")
        _names(panels[0], names, models)
        return svg(figure)


def cost_plot(results: Results, models: Models) -> str:
    """A panel a target: mean AUC against multiply-accumulates a row, named beside the points."""
    chosen = _with(results, "auc")
    with styled():
        figure = Figure(figsize=(4.1 * len(chosen) + 0.4, 3.6))
        panels = figure.subplots(1, len(chosen), squeeze=False)[0]
        for axes, target in zip(panels, chosen, strict=True):
            points = []
            for name in results.names:
                x, y = results.typical(name, "macs"), results.mean(name, target, "auc")
                if x and y is not None:
                    ink = colour(models[name])
                    axes.plot([x], [y], "o", ms=6, color=ink, mfc=ink if name == models[name] else "white")
                    points.append((x, y, name, ink))
            axes.set_xscale("log")
            axes.margins(x=0.12, y=0.12)
            low, high = axes.get_xlim()
            axes.set_xlim(low, high * (high / low) ** 0.3)  # room for names
            axes.set_title(target.name)
            axes.set_xlabel("multiply-accumulates a row")
            axes.set_ylabel("test AUC")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
            axes.minorticks_off()
            label_points(axes, points)
        return svg(figure)


def _panels(count: int, rows: int) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(3.3 * count + 1.2, 0.27 * rows + 1.0))
    panels: Sequence[Axes] = figure.subplots(1, count, squeeze=False, sharey=True)[0]
    for axes in panels:
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="y", color="#f0f1f3", lw=1)
        axes.set_axisbelow(True)
    return figure, panels


def _interval(axes: Axes, row: int, values: Sequence[float], ink: str, solid: bool) -> None:
    if not values:
        return
    middle, half = sum(values) / len(values), seed_interval(values)
    axes.plot(values, [row] * len(values), "o", ms=4, color=ink, alpha=0.4, mew=0)
    if half == half:
        axes.plot([middle - half, middle + half], [row, row], color=ink, lw=1.5)
    axes.plot([middle], [row], "o", ms=5.5, color=ink, mfc=ink if solid else "white")


def _names(axes: Axes, names: Sequence[str], models: Models) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(colour(models[name]) if name == models[name] else INK)


def _with(results: Results, metric: str) -> list[Target]:
    """Targets that have this metric in some run."""
    return [t for t in results.targets if any(results.values(name, t, metric) for name in results.names)]


def _axis(metric: str) -> str:
    shown = {"auc": "test AUC", "share": "share of the oracle's lift", "rmse": "test RMSE (less is better)"}
    return shown[metric]
