"""Prometheus metrics, one registry an app. Labels are bounded: never an id of a user or an item."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import time
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
    disable_created_metrics,
    generate_latest,
)

from service.experiments.arms.breaker import STATES, Breaker

if TYPE_CHECKING:  # needs numpy, which the parent of workers does without
    from contract.stamp import Stamp
    from service.experiments.arms.comparison import Comparison, Gap

STAGES = ("parse", "route", "features", "encode", "queue", "run", "compose", "serialise", "total")
QUEUE_FULL, DEADLINE, EXPIRED = "queue-full", "deadline", "expired"  # why a request was shed
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_ROWS = (1, 10, 50, 100, 200, 500, 1000, 2000, 4000, 8000)
_ITEM_CACHE = {
    "hits": "found in process",
    "misses": "read from Redis",
    "evictions": "dropped for want of room",
    "invalidations": "dropped because they changed, or might have",
}

# how a gauge of several workers is shown as one; others, and all that count, are summed
ACROSS_WORKERS: dict[str, Callable[[Iterable[float]], float]] = {
    "twinscore_model_info": max,
    "twinscore_item_cache_followed": min,
    "twinscore_features_age_seconds": max,
    "twinscore_features_data_age_seconds": max,
    "twinscore_features_expire_seconds": min,
    "twinscore_experiments_version": min,
    "twinscore_experiments_refused": max,
    "twinscore_arm_breaker": max,
    "twinscore_gc_longest_seconds": max,
    "twinscore_log_up": min,
    "process_start_time_seconds": min,
}

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """What the service counts."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.gather: Callable[[], Awaitable[bytes]] | None = None  # the page of all workers, where there are several
        ProcessCollector(registry=registry)
        stage = Histogram(
            "twinscore_stage_seconds", "Time of one request in a stage", ["stage"], buckets=_SECONDS, registry=registry
        )
        self.stage = {name: stage.labels(name).observe for name in STAGES}
        self.requests = Counter(
            "twinscore_requests", "Score requests answered", ["status", "arm", "model"], registry=registry
        )
        self.inferences = Counter(
            "twinscore_inference_requests", "Requests of /v2 to score tensors", ["status", "model"], registry=registry
        )
        self.candidates = Counter("twinscore_candidates", "Candidates scored", registry=registry)
        missing = Counter("twinscore_missing_rows", "Looked-up rows that were absent", ["side"], registry=registry)
        self.missing = {side: missing.labels(side).inc for side in ("user", "item")}
        corrupt = Counter("twinscore_corrupt_rows", "Rows of a wrong length or check word", ["side"], registry=registry)
        self.corrupt = {side: corrupt.labels(side).inc for side in ("user", "item")}
        self.item_cache = {
            event: Counter(f"twinscore_item_cache_{event}", f"Item rows: {meaning}", registry=registry).inc
            for event, meaning in _ITEM_CACHE.items()
        }
        self._kept = Gauge("twinscore_item_cache_rows", "Item rows kept in process", ["schema"], registry=registry)
        self._followed = Gauge(
            "twinscore_item_cache_followed", "1 while Redis tells of changes; else none is kept", ["schema"],
            registry=registry,
        )  # fmt: skip
        self._written = Gauge(
            "twinscore_features_age_seconds", "Since the feature rows were written", ["schema"], registry=registry
        )
        self._prepared = Gauge(
            "twinscore_features_data_age_seconds", "Since their data set was prepared", ["schema"], registry=registry
        )
        self._expires = Gauge(
            "twinscore_features_expire_seconds", "Until the first of them expire, where they do", ["schema"],
            registry=registry,
        )  # fmt: skip
        self.config_version = Gauge(
            "twinscore_experiments_version", "Version of the configuration in force", registry=registry
        )
        self.config_refused = Gauge(
            "twinscore_experiments_refused", "1 while the file, or the Redis key, holds a text that is refused",
            ["origin"], registry=registry,
        )  # fmt: skip
        self.degraded = Counter("twinscore_degraded", "Replies that were degraded", ["reason"], registry=registry)
        shed = Counter("twinscore_shed", "Requests refused because of load", ["reason"], registry=registry)
        self.shed = {reason: shed.labels(reason).inc for reason in (QUEUE_FULL, DEADLINE, EXPIRED)}
        self.batch_rows = Histogram(
            "twinscore_batch_rows", "Candidates in one run of an engine", ["model"], buckets=_ROWS, registry=registry
        )
        self.batch_requests = Histogram(
            "twinscore_batch_requests",
            "Requests in one run",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self._waiting = Gauge(
            "twinscore_queue_rows", "Candidates that wait for an engine", ["model"], registry=registry
        )
        self.log_records = Counter("twinscore_log_records", "Records that the log has", ["kind"], registry=registry)
        self.exposures_dropped = Counter(
            "twinscore_exposures_dropped",
            "Exposures that found the queue full",
            ["experiment", "arm"],
            registry=registry,
        )
        self.log_flush = Histogram(
            "twinscore_log_flush_seconds", "Time of a batch to the log", buckets=_SECONDS, registry=registry
        ).observe
        self._log_queue = Gauge("twinscore_log_queue", "Records that wait for the log", registry=registry)
        self._log_up = Gauge("twinscore_log_up", "1 while the log takes records", registry=registry)
        self.fallbacks = Counter(
            "twinscore_arm_fallbacks", "Requests of an arm that the control answered", ["experiment", "arm", "reason"],
            registry=registry,
        )  # fmt: skip
        self._breakers = Gauge(
            "twinscore_arm_breaker", "Circuit breaker of an arm: 0 closed, 1 half-open, 2 open", ["experiment", "arm"],
            registry=registry,
        )  # fmt: skip
        self.kills = Counter(
            "twinscore_guardrail_kills", "Experiments that a guardrail killed", ["experiment", "arm", "guardrail"],
            registry=registry,
        )  # fmt: skip
        self.shadows = Counter(
            "twinscore_shadow_requests", "Requests drawn for a shadow", ["experiment", "arm", "model", "outcome"],
            registry=registry,
        )  # fmt: skip
        of_shadow = ["experiment", "arm", "model", "task"]
        self._correlation = Summary(
            "twinscore_shadow_rank_correlation", "Spearman's, within a request", of_shadow, registry=registry
        )
        self._difference = Summary(
            "twinscore_shadow_difference", "Mean absolute difference of scores in a request", of_shadow,
            registry=registry,
        )  # fmt: skip
        self._shadow_run = Summary(
            "twinscore_shadow_run_seconds", "Time in the engine", ["experiment", "arm", "model", "side"],
            registry=registry,
        )  # fmt: skip
        self._model = Gauge(
            "twinscore_model_info", "Loaded models", ["model", "version", "fingerprint", "dataset"], registry=registry
        )

    def watch_queue(self, model: str, rows: Callable[[], int]) -> None:
        """Show how many candidates wait for this model's engine."""
        self._waiting.labels(model).set_function(rows)

    def watch_log(self, waiting: Callable[[], int], up: Callable[[], bool]) -> None:
        """Show how many records wait for the log, and whether it takes them."""
        self._log_queue.set_function(waiting)
        self._log_up.set_function(up)

    def watch_breakers(self, breakers: Mapping[tuple[str, str], Breaker]) -> None:
        """Show the states of these arms' breakers, by experiment and arm, and of no others."""
        self._breakers.clear()
        for (experiment, arm), breaker in breakers.items():
            self._breakers.labels(experiment, arm).set_function(lambda of=breaker: STATES.index(of.state))  # type: ignore[misc]

    def compared(self, of: "Comparison", gaps: "Mapping[str, Gap]", arm_seconds: float, shadow_seconds: float) -> None:
        """Show one request that a shadow scored too."""
        names = of.key, of.arm, of.model
        self._shadow_run.labels(*names, "arm").observe(arm_seconds)
        self._shadow_run.labels(*names, "shadow").observe(shadow_seconds)
        for task, gap in gaps.items():
            self._difference.labels(*names, task).observe(gap.difference)
            if gap.correlation is not None:
                self._correlation.labels(*names, task).observe(gap.correlation)

    def watch_items(self, schema: str, rows: Callable[[], int], followed: Callable[[], bool]) -> None:
        """Show how many item rows of a schema are kept, and whether their changes are heard of."""
        self._kept.labels(schema).set_function(rows)
        self._followed.labels(schema).set_function(followed)

    def stamped(self, schema: str, stamp: "Stamp | None") -> None:
        """Show how old a schema's rows are; nothing where that is not known."""
        times = (None, None, None) if stamp is None else (stamp.written, stamp.prepared, stamp.expires)
        for gauge, moment, sign in zip((self._written, self._prepared, self._expires), times, (1, 1, -1), strict=True):
            if moment:
                gauge.labels(schema).set_function(lambda of=moment, sign=sign: sign * (time() - of))  # type: ignore[misc]
            else:
                gauge.remove_by_labels({"schema": schema})

    def loaded(self, model: str, version: str, fingerprint: str, dataset: str) -> None:
        """Show a loaded model."""
        self._model.labels(model, version, fingerprint, dataset).set(1)

    def unloaded(self, model: str, version: str, fingerprint: str, dataset: str) -> None:
        """Show it, and its queue, no more."""
        self._model.remove(model, version, fingerprint, dataset)
        self._waiting.remove(f"{model}@{version}")

    async def page(self) -> bytes:
        """The exposition format; ServiceProblem where other workers cannot be asked."""
        return generate_latest(self.registry) if self.gather is None else await self.gather()
