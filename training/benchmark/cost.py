"""What a model costs: parameters, multiply-accumulates a row, training rows a second, and on which machine."""

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from time import perf_counter
from types import TracebackType
from typing import Self

import torch
from torch import nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

from training.batches import Batch
from training.models import Ranker

COUNTED_ROWS = 1024
WARM_UP = 5  # steps


def table_parameters(model: nn.Module) -> int:
    """Of tables that are looked up by id: all of them lie in memory, few take part in a row."""
    tables = (module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag))
    return sum(table.weight.numel() for table in tables)


def parameters(model: nn.Module) -> int:
    """All trained numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_accumulates(model: Ranker, batch: Batch) -> float:
    """Of matrix products a row: half the FLOPs that torch's FlopCounterMode sees in one pass of evaluation."""
    rows = batch.rows(slice(0, COUNTED_ROWS))
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.raw(*rows.inputs)
    return float(counter.get_total_flops()) / 2 / len(rows)


class Stopwatch(AbstractContextManager["Stopwatch"]):
    """Watches whatever trains inside the block, from one optimiser step to the next; `tick` is called at each."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self.tick, self.ends = tick, list[float]()
        self.watched: int | None = None

    def __enter__(self) -> Self:
        self.hook = register_optimizer_step_post_hook(self._stepped)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hook.remove()

    def rows_per_second(self, batch_size: int) -> float | None:
        """By the median step, loading included: those with a validation between them are too few to matter."""
        steps = [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]
        return batch_size / median(steps[WARM_UP:] or steps) if steps else None

    def _stepped(self, optimizer: Optimizer, *_: object) -> None:
        if self.watched is None:
            self.watched = id(optimizer)  # of a model with several, one counts
        if id(optimizer) == self.watched:
            self.ends.append(perf_counter())
            self.tick()


def machine(device: torch.device) -> str:
    """In words, for the report."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
