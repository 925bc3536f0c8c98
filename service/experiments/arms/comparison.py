"""An arm's model beside a shadow: the same candidates, scored by both. Sums and bins, so that memory is bounded."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from service.experiments.arms.bins import Bins, Sparse, dense, sparse

DIFFERENCE = Bins(least=1e-8, ratio=1.1, count=400)  # of two scores, up to about 3e8: continuous tasks have any size
RUN = Bins(least=1e-5, ratio=1.1, count=180)  # seconds
Columns = Mapping[str, NDArray[np.float32]]


class TaskCounts(TypedDict):
    """One column; `ranked` requests have a rank correlation: some have one candidate, or equal scores."""

    rows: int
    ranked: int
    correlation: float
    difference: float
    arm: float
    shadow: float
    differences: Sparse


class ComparisonCounts(TypedDict):
    """An arm and its shadow in one process, as published: sums."""

    key: str
    arm: str
    model: str  # of the shadow, name@version
    requests: int
    dropped: int
    failed: int
    tasks: dict[str, TaskCounts]
    arm_runs: Sparse
    shadow_runs: Sparse


class TaskReport(TypedDict):
    """One column: means over requests, of `rank_correlation` (Spearman), and over candidates, of all else."""

    rank_correlation: float | None
    mean_difference: float
    p50_difference: float | None
    p99_difference: float | None
    arm_mean: float
    shadow_mean: float


class Latency(TypedDict):
    """Time in the engine."""

    p50_ms: float | None
    p99_ms: float | None


class ComparisonReport(TypedDict):
    """An arm and its shadow in all processes."""

    experiment: str
    arm: str
    model: str
    requests: int
    dropped: int
    failed: int
    tasks: dict[str, TaskReport]
    arm_latency: Latency
    shadow_latency: Latency


class Comparison:
    """Sums of one arm and one shadow."""

    def __init__(self, key: str, arm: str, model: str) -> None:
        self.key, self.arm, self.model = key, arm, model
        self.requests = self.dropped = self.failed = 0
        self._tasks: dict[str, _Task] = {}
        self._arm_runs, self._shadow_runs = (np.zeros(RUN.count, np.int64) for _ in range(2))

    def add(self, arm: Columns, shadow: Columns, arm_seconds: float, shadow_seconds: float) -> "dict[str, Gap]":
        """One request, by the columns that both have and that are finite."""
        self.requests += 1
        self._arm_runs[RUN.of(arm_seconds)] += 1
        self._shadow_runs[RUN.of(shadow_seconds)] += 1
        return {
            task: self._tasks.setdefault(task, _Task()).add(arm[task], shadow[task])
            for task in arm.keys() & shadow.keys()
            if np.isfinite(arm[task]).all() and np.isfinite(shadow[task]).all()
        }

    def counts(self) -> ComparisonCounts:
        """So far."""
        return {
            "key": self.key, "arm": self.arm, "model": self.model, "requests": self.requests, "dropped": self.dropped,
            "failed": self.failed, "tasks": {name: task.counts() for name, task in sorted(self._tasks.items())},
            "arm_runs": sparse(self._arm_runs), "shadow_runs": sparse(self._shadow_runs),
        }  # fmt: skip


class Gap(NamedTuple):
    """One column of one request."""

    difference: float  # mean
    correlation: float | None


class _Task:
    def __init__(self) -> None:
        self._rows = self._ranked = 0
        self._correlation = self._difference = self._arm = self._shadow = 0.0
        self._differences = np.zeros(DIFFERENCE.count, np.int64)

    def add(self, arm: NDArray[np.float32], shadow: NDArray[np.float32]) -> Gap:
        gaps = np.abs(arm.astype(np.float64) - shadow)
        self._rows += len(arm)
        self._difference += float(gaps.sum())
        self._arm += float(arm.sum(dtype=np.float64))
        self._shadow += float(shadow.sum(dtype=np.float64))
        self._differences += DIFFERENCE.counts(gaps)
        if (correlation := spearman(arm, shadow)) is not None:
            self._ranked += 1
            self._correlation += correlation
        return Gap(float(gaps.mean()), correlation)

    def counts(self) -> TaskCounts:
        return {
            "rows": self._rows, "ranked": self._ranked, "correlation": self._correlation,
            "difference": self._difference, "arm": self._arm, "shadow": self._shadow,
            "differences": sparse(self._differences),
        }  # fmt: skip


def spearman(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    """Rank correlation, equal values sharing their mean rank; None where a side has one value alone."""
    ranks = [_ranks(column) for column in (a, b)]
    x, y = (each - each.mean() for each in ranks)
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else None


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def compared(parts: Iterable[ComparisonCounts]) -> list[ComparisonReport]:
    """Reports of what one or several processes counted."""
    same: dict[tuple[str, str, str], list[ComparisonCounts]] = {}
    for part in parts:
        same.setdefault((part["key"], part["arm"], part["model"]), []).append(part)
    return [_report(group) for _, group in sorted(same.items())]


def _report(parts: list[ComparisonCounts]) -> ComparisonReport:
    first = parts[0]
    tasks = sorted({task for part in parts for task in part["tasks"]})
    return {
        "experiment": first["key"], "arm": first["arm"], "model": first["model"],
        "requests": sum(part["requests"] for part in parts), "dropped": sum(part["dropped"] for part in parts),
        "failed": sum(part["failed"] for part in parts),
        "tasks": {task: _task([part["tasks"][task] for part in parts if task in part["tasks"]]) for task in tasks},
        "arm_latency": _latency([part["arm_runs"] for part in parts]),
        "shadow_latency": _latency([part["shadow_runs"] for part in parts]),
    }  # fmt: skip


def _task(parts: list[TaskCounts]) -> TaskReport:
    rows, ranked = sum(part["rows"] for part in parts), sum(part["ranked"] for part in parts)
    differences = _sum([part["differences"] for part in parts], DIFFERENCE)
    return {
        "rank_correlation": sum(part["correlation"] for part in parts) / ranked if ranked else None,
        "mean_difference": sum(part["difference"] for part in parts) / rows,
        "p50_difference": DIFFERENCE.quantile(differences, 0.5),
        "p99_difference": DIFFERENCE.quantile(differences, 0.99),
        "arm_mean": sum(part["arm"] for part in parts) / rows,
        "shadow_mean": sum(part["shadow"] for part in parts) / rows,
    }


def _latency(parts: list[Sparse]) -> Latency:
    runs = _sum(parts, RUN)
    p50, p99 = (RUN.quantile(runs, share) for share in (0.5, 0.99))
    return {"p50_ms": None if p50 is None else 1000 * p50, "p99_ms": None if p99 is None else 1000 * p99}


def _sum(parts: list[Sparse], bins: Bins) -> NDArray[np.int64]:
    return sum((dense(part, bins) for part in parts), dense({}, bins))
