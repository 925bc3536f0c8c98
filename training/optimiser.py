"""One optimiser for all weights, and one of their own for those that are looked up by id.

dense weights   fused AdamW
tables          adamw, or with gradients that hold only the rows met: rowwise_adagrad, or torch's SparseAdam
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from contract.errors import ConfigError
from training.config import Recipe
from training.distributed import place
from training.models.sharded import sharded_tables
from training.schedule import rate

EPSILON = 1e-10  # of row-wise Adagrad


class RowwiseAdagrad(torch.optim.Optimizer):
    """Adagrad with one accumulator a row (Naumov et al., DLRM, 2019; Gupta et al., 2014): a table's state is a column.

    s_r ← s_r + mean(g_r²);  w_r ← w_r - lr (g_r / (sqrt(s_r) + eps) + decay w_r), for the rows r with a gradient.
    """

    def __init__(self, params: Sequence[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # the loop has no closures
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group["lr"], group["weight_decay"])

    def _update(self, weight: Tensor, grad: Tensor, lr: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state["sum"] = torch.zeros(len(weight), device=weight.device)
        grad = grad.coalesce()  # one gradient a row, rows distinct
        rows, values = grad.indices()[0], grad.values()
        total = state["sum"].index_select(0, rows) + values.square().mean(1)
        state["sum"].index_copy_(0, rows, total)
        change = values / (total.sqrt() + EPSILON).unsqueeze(1)
        if decay:
            change.add_(weight.index_select(0, rows), alpha=decay)
        weight.index_add_(0, rows, change, alpha=-lr)


class Optimiser:
    """Steps of all weights of a module, clipped and scheduled; its state as named tensors."""

    def __init__(self, module: nn.Module, recipe: Recipe, total_steps: int) -> None:
        self.recipe, self.total_steps = recipe, total_steps
        self.named = dict(module.named_parameters())
        tables = lookup_tables(module)
        for table in tables.values():
            table.sparse = recipe.table_optimiser != "adamw"
        looked_up = [p for name, p in self.named.items() if name.removesuffix(".weight") in tables]
        dense = [p for name, p in self.named.items() if name.removesuffix(".weight") not in tables]
        self.parts = _build(looked_up, dense, recipe)
        self.groups = [group for part in self.parts for group in part.param_groups]
        self.rates: list[float] = [group["lr"] for group in self.groups]
        self.sharded = sharded_tables(module)

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def start(self, steps: int) -> None:
        """Before the gradients of a step, which update sharded tables as they come; `steps` were taken before."""
        self.zero_grad()
        for table in self.sharded.values():
            table.set_learning_rate(
                (self.recipe.table_learning_rate or self.recipe.learning_rate) * self._factor(steps)
            )

    def step(self, steps: int) -> None:
        """Update the weights; `steps` were taken before."""
        if self.recipe.clip_norm is not None:
            clip(self.named.values(), self.recipe.clip_norm)
        for group, full in zip(self.groups, self.rates, strict=True):
            group["lr"] = full * self._factor(steps)
        for part in self.parts:
            part.step()

    @property
    def learning_rate(self) -> float:
        """Of the dense weights, at the last step."""
        return float(self.groups[-1]["lr"])

    def state(self) -> dict[str, Tensor]:
        """`<parameter>/<key>` → tensor; whole numbers as int64 scalars."""
        return {f"{name}.weight/sum": table.whole(table.sums) for name, table in self.sharded.items()} | {
            f"{name}/{key}": torch.as_tensor(value)
            for name, part, parameter in self._owners()
            for key, value in part.state[parameter].items()
        }

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """What `state` gave, bit for bit."""
        for name, part, parameter in self._owners():
            keys = [full for full in tensors if full.rpartition("/")[0] == name]
            part.state[parameter] = {key.rpartition("/")[2]: _restored(tensors[key], parameter) for key in keys}
        for name, table in self.sharded.items():
            table.sums.copy_(table.own(tensors[f"{name}.weight/sum"]))

    def _factor(self, steps: int) -> float:
        return rate(steps, self.recipe.schedule, self.recipe.warmup_steps, self.total_steps)

    def _owners(self) -> Iterator[tuple[str, torch.optim.Optimizer, nn.Parameter]]:
        names = {id(parameter): name for name, parameter in self.named.items()}
        for part in self.parts:
            for group in part.param_groups:
                yield from ((names[id(parameter)], part, parameter) for parameter in group["params"])


def lookup_tables(module: nn.Module) -> dict[str, nn.Embedding]:
    """Tables that are looked up by id, by name: embeddings of fields and code books."""
    return {name: part for name, part in module.named_modules() if isinstance(part, nn.Embedding)}


def _build(tables: Sequence[Tensor], dense: Sequence[Tensor], recipe: Recipe) -> list[torch.optim.Optimizer]:
    of_tables: dict[str, Any] = {
        "params": tables,
        "lr": recipe.table_learning_rate or recipe.learning_rate,
        "weight_decay": recipe.table_decay,
    }
    of_dense: dict[str, Any] = {"params": dense, "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.table_optimiser == "adamw" or not tables:
        return [torch.optim.AdamW([of_tables, of_dense], fused=True)]
    if place().world > 1 and tables[0].is_cuda:
        raise ConfigError(
            f"table_optimiser: {recipe.table_optimiser}: nccl cannot add sparse gradients up; "
            "take adamw under torchrun on GPUs"
        )
    if recipe.table_optimiser == "rowwise_adagrad":
        return [RowwiseAdagrad(**of_tables), torch.optim.AdamW([of_dense], fused=True)]
    sparse = torch.optim.SparseAdam(tables, lr=of_tables["lr"])
    return [sparse, torch.optim.AdamW([of_dense], fused=True)]


def _restored(value: Tensor, parameter: nn.Parameter) -> Tensor | int:
    """SparseAdam counts its steps in a Python int."""
    return int(value) if value.dtype is torch.int64 else value.to(parameter.device)


@torch.no_grad()
def clip(parameters: Iterable[Tensor], largest: float) -> None:
    """Scale all gradients so that their common norm is at most `largest`; nothing is read back from the device."""
    values = []
    for parameter in parameters:
        if (grad := parameter.grad) is not None and grad.is_sparse:
            parameter.grad = grad = grad.coalesce()  # a row met twice has one gradient, the sum
        if grad is not None:
            values.append(grad.values() if grad.is_sparse else grad)
    factor = (largest / (get_total_norm(values) + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(values, factor)
