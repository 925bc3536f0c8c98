"""What a shape was run to find out: recovery after a spike, growth over a soak, the point of saturation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from loadtest.shapes import Step, saturation
from loadtest.timeline import Sample, Timeline

FLAT = 1.5  # p99 is as before while it is within this factor
GROWN = 1.05  # memory
_WINDOW = 1.0  # of the recovery, in seconds
_PARTS = 4  # of a soak
_INTERVALS = 12

Change = tuple[float, int]  # seconds since the start, users from then on


@dataclass(frozen=True)
class Findings:
    """Lines to show, figures to keep, and what fails the run."""

    lines: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def recovery(timeline: Timeline, changes: Sequence[Change], seconds: float) -> Findings:
    """How long after the burst p99 is back within 1.5 of what it was, for two windows of a second in turn."""
    if len(changes) < 3:
        return Findings(broken=["spike: the run ended before the burst was over"])
    (_, base), (start, burst), (over, _) = changes[:3]
    before, during = timeline.window(1.0, start), timeline.window(start, over)
    p99s = [timeline.window(over + t, over + t + _WINDOW).p99 for t in range(int(seconds - over))]
    calm = [0 < p99 <= FLAT * before.p99 for p99 in p99s]
    back = next((t for t in range(len(calm) - 1) if calm[t] and calm[t + 1]), None)
    figures: dict[str, object]
    line = f"spike: p99 {before.p99:.3g} ms before, {during.p99:.3g} ms in the burst of {burst / base:g} x"
    figures = {"p99_before_ms": before.p99, "p99_burst_ms": during.p99, "recovery_seconds": back}
    if back is None:
        lost = f"spike: p99 was not back within {FLAT} x {before.p99:.3g} ms in {seconds - over:.0f} s after the burst"
        return Findings([line], figures, [lost])
    return Findings([f"{line}, back within {FLAT} x after {back} s"], figures)


def growth(timeline: Timeline, samples: Sequence[Sample], seconds: float) -> Findings:
    """Memory and p99 of the last quarter against the second (in the first, caches fill)."""
    parts = [timeline.window(i * seconds / _INTERVALS, (i + 1) * seconds / _INTERVALS) for i in range(_INTERVALS)]
    broken: list[str] = []
    figures: dict[str, object] = {}
    memory = [[rss for at, rss, _ in samples if i <= _PARTS * at / seconds < i + 1] for i in range(_PARTS)]
    lines = ["soak: p99 " + ", ".join(f"{part.p99:.3g}" for part in parts) + " ms"]
    if all(memory):
        sizes = [median(part) / 2**20 for part in memory]
        lines.append("soak: memory of the service " + ", ".join(f"{size:,.0f}" for size in sizes) + " MiB")
        figures["memory_mib"] = sizes
        if sizes[-1] > GROWN * sizes[1]:
            broken.append(f"soak: memory grew from {sizes[1]:,.0f} to {sizes[-1]:,.0f} MiB")
    else:
        lines.append("soak: the service's /metrics show no process_resident_memory_bytes")
    quarter = len(parts) // _PARTS
    early, late = (median(part.p99 for part in some) for some in (parts[quarter : 2 * quarter], parts[-quarter:]))
    if late > FLAT * early:
        broken.append(f"soak: p99 grew from {early:.3g} to {late:.3g} ms")
    return Findings(lines, figures | {"p99_ms": [part.p99 for part in parts]}, broken)


def climb(steps: Sequence[Step]) -> Findings:
    """A line a step, and the point of saturation."""
    lines, told = [_step_line(step) for step in steps], []
    for step in steps:
        told.append(
            {"users": step.users, "planned": step.planned, "offered": step.offered, "good": step.good}
            | step.figures.figures()
        )
    point = saturation(list(steps))
    if point is None:
        return Findings(lines, {"steps": told}, ["steps: not one was good; begin lower, or give it more --run-time"])
    best = point.figures
    rates = f"{best.requests_per_second:,.1f} requests/s, {best.candidates_per_second:,.0f} candidates/s"
    more = ", or more: no step gave way" if point.planned and all(step.good for step in steps) else ""
    lines.append(f"saturation: {rates}, p99 {best.p99:.3g} ms, at {_load(point)}{more}")
    return Findings(lines, {"steps": told, "saturation": {"users": point.users, "planned": point.planned}})


def _load(step: Step) -> str:
    return f"{step.offered:,.1f} requests/s offered" if step.planned else f"{step.users} users"


def _step_line(step: Step) -> str:
    rate = f"{step.figures.requests_per_second:,.1f} requests/s, p99 {step.figures.p99:.3g} ms"
    state = "good" if step.good else "; ".join(step.broken) or "does not keep up"
    return f"step: {_load(step)}: {rate} ({state})"
