"""The device and the precision of a run."""

import os

import torch

from contract.errors import ConfigError
from training.config import Precision
from training.distributed import local_rank

CPU = torch.device("cpu")


def choose_device(name: str) -> torch.device:
    """The device of this name, under torchrun this process's own; ConfigError for a `cuda` that is absent."""
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise ConfigError("--device cuda: torch finds no CUDA device here; use --device cpu or auto")
    if name == "cpu" or not present:
        torch.set_flush_denormal(True)  # denormals in the optimiser's moments slow CPUs down
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # needed for the next line
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda", local_rank())


def half_precision(precision: Precision, device: torch.device) -> bool:
    """Whether the model runs in bfloat16; its weights, losses and optimiser stay in float32."""
    if precision == "bf16" and device.type != "cuda":
        raise ConfigError("precision: bf16 needs --device cuda; take auto or fp32")
    return precision != "fp32" and device.type == "cuda"
