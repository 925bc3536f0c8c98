"""What a model costs: parameters, multiply-accumulates a row, and on which machine."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

from training.batches import Batch
from training.models import Ranker

COUNTED_ROWS = 1024
Tick = Callable[[], None]


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


@contextmanager
def stepping(tick: Tick) -> Iterator[None]:
    """Call `tick` at each step of whatever trains inside the block."""
    first: list[Optimizer] = []

    def stepped(optimizer: Optimizer, *_: object) -> None:
        first[:] = first or [optimizer]
        if optimizer is first[0]:  # of a model with several, one counts
            tick()

    hook = register_optimizer_step_post_hook(stepped)
    try:
        yield
    finally:
        hook.remove()


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
