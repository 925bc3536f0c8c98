"""What a run tells while it trains: TensorBoard events, and MLflow where MLFLOW_TRACKING_URI is set.

MLflow is a companion, never a condition: where it is not installed or does not answer, one line says so and training
goes on.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from training.checkpoint import RunConfig
from training.distributed import place
from training.metrics import TaskMetrics
from training.report import Metrics
from training.resume import flat

EXPERIMENT = "twinscore"


@contextmanager
def tracking(events: Path, name: str, config: RunConfig, console: Console) -> Iterator["Tracker | None"]:
    """A tracker in the first process, and none in the others."""
    if place().rank:
        yield None
        return
    tracker = Tracker(events, name, flat(config.model_dump(mode="json")), console)
    try:
        yield tracker
    except KeyboardInterrupt:
        tracker.close("KILLED")
        raise
    except BaseException:
        tracker.close("FAILED")
        raise


class Tracker:
    """Numbers by step, in both places."""

    def __init__(self, events: Path, name: str, settings: Mapping[str, object], console: Console) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here, since importing it takes half a second

        self.events, self.console = events, console
        self.writer = SummaryWriter(str(events))
        self.mlflow: Any = None
        if os.environ.get("MLFLOW_TRACKING_URI"):
            self._try(lambda: self._start_mlflow(name, settings))

    def validated(self, step: int, metrics: Mapping[str, TaskMetrics], others: Mapping[str, float]) -> None:
        """Metrics of a validation, by task; and what else there is, by name."""
        self._log({**dict(_numbers("validation", metrics)), **others}, step)

    def finished(self, step: int, metrics: Metrics, rows_per_second: float) -> None:
        """Metrics of the weights kept, by split and task. The end of tracking."""
        numbers = dict(
            pair for split, tasks in metrics.items() for pair in _numbers(f"kept/{split.replace(', ', '-')}", tasks)
        )
        self._log({**numbers, "rows_per_second": rows_per_second}, step)
        self.close("FINISHED")

    def close(self, status: str) -> None:
        """Flush; MLflow is told how it ended."""
        self.writer.close()
        if self.mlflow is not None:
            self._try(lambda: self.mlflow.end_run(status))
            self.mlflow = None

    def _log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, number in numbers.items():
            self.writer.add_scalar(name, number, step)
        self.writer.flush()
        if self.mlflow is not None:
            self._try(lambda: self.mlflow.log_metrics(dict(numbers), step=step))

    def _start_mlflow(self, name: str, settings: Mapping[str, object]) -> None:
        # a server that is away is noticed in seconds, not in minutes of retries
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
        import mlflow

        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
        mlflow.start_run(run_name=name)
        mlflow.log_params(dict(settings))
        self.mlflow = mlflow

    def _try(self, action: Any) -> None:
        try:
            action()
        except Exception as error:  # whatever a client library raises
            reason = (str(error).splitlines() or [""])[0]
            self.console.print(f"warning: no MLflow tracking ({type(error).__name__}: {reason})", soft_wrap=True)
            self.mlflow = None


def _numbers(prefix: str, metrics: Mapping[str, TaskMetrics]) -> Iterator[tuple[str, float]]:
    for task, of_task in metrics.items():
        for name, value in of_task.items():
            if isinstance(value, float):
                yield f"{prefix}/{task}/{name}", value
