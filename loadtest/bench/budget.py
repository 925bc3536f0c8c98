"""Where the time of one request goes, one connection: by the service's own stage timers, and its CPU by threads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.bench.cells import Meter
from loadtest.bench.processes import ENGINE, usage
from loadtest.bench.scrape import scrape
from loadtest.bench.servers import Server
from loadtest.http_load import load

TARGET_SIZE, TARGET = 500, 1.5  # milliseconds of CPU that all but the model may take a request of so many candidates
_TOTAL = "total"  # the stage that holds the others


@dataclass(frozen=True)
class Budget:
    """Of one request, in milliseconds."""

    latency: float  # as the client sees it, the mean
    stages: Mapping[str, float]
    cpu: float
    engine_cpu: float  # of `cpu`, in threads that run a model
    redis_cpu: float

    @property
    def host_cpu(self) -> float:
        """CPU of all but the model."""
        return self.cpu - self.engine_cpu

    def rows(self) -> dict[str, float]:
        """Stages, and what none of them covers."""
        stages = {stage: spent for stage, spent in self.stages.items() if stage != _TOTAL}
        inside = self.stages.get(_TOTAL, sum(stages.values()))
        return stages | {"between stages": inside - sum(stages.values()), "HTTP and sockets": self.latency - inside}


def measure(server: Server, bodies: Path, seconds: float, meter: Meter) -> Budget:
    """The budget of the requests in `bodies`."""
    load(server.urls, bodies, 1, 1.0)  # warms up
    before, redis, used = scrape(server.metrics), meter.redis_cpu(), usage(server.pids)
    figures = load(server.urls, bodies, 1, seconds)
    after, redis_after = usage(server.pids), meter.redis_cpu()
    stages = {stage: 1_000 * spent for stage, spent in (scrape(server.metrics) - before).stages().items()}
    each = 1_000 / figures.requests
    return Budget(
        latency=figures.seconds * each,
        stages=stages,
        cpu=(after.cpu - used.cpu) * each,
        engine_cpu=(after.engine - used.engine) * each,
        redis_cpu=(redis_after - redis) * each,
    )


def table(budgets: Mapping[int, Budget]) -> str:
    """Markdown: microseconds, and shares of the latency."""
    lines = ["| | " + " | ".join(f"{size} candidates: µs | share" for size in budgets) + " |"]
    lines.append("|---|" + "--:|" * (2 * len(budgets)))
    names = dict.fromkeys(name for budget in budgets.values() for name in budget.rows())
    for name in names:
        lines.append(_line(name, [(budget.rows().get(name, 0.0), budget.latency) for budget in budgets.values()]))
    lines.append(_line("**latency, mean**", [(budget.latency, budget.latency) for budget in budgets.values()]))
    for name, kind in (
        ("CPU: the model", "engine_cpu"),
        ("CPU: all else (host path)", "host_cpu"),
        ("CPU: Redis", "redis_cpu"),
    ):
        lines.append(_line(name, [(getattr(budget, kind), budget.latency) for budget in budgets.values()]))
    return "\n".join(lines)


def verdict(budgets: Mapping[int, Budget]) -> str:
    """Whether the host path is within its target, in one line."""
    if TARGET_SIZE not in budgets:
        return f"host path: its target is for {TARGET_SIZE} candidates, which were not measured"
    budget = budgets[TARGET_SIZE]
    if not budget.engine_cpu:
        return f"host path: unknown, since the service has no thread whose name begins with '{ENGINE}'"
    met = "met" if budget.host_cpu <= TARGET else "missed"
    return f"host path at {TARGET_SIZE} candidates: {budget.host_cpu:.2f} ms of CPU a request, target {TARGET}: {met}"


def raw(budgets: Mapping[int, Budget]) -> dict[str, Any]:
    """For JSON; milliseconds."""
    return {str(size): asdict(budget) | {"host_cpu": budget.host_cpu} for size, budget in budgets.items()}


def _line(name: str, spent: list[tuple[float, float]]) -> str:
    return f"| {name} | " + " | ".join(f"{1_000 * part:,.0f} | {part / whole:.1%}" for part, whole in spent) + " |"
