"""A table of which each process holds some rows, by TorchRec.

An EmbeddingCollection that DistributedModelParallel cuts by rows: ids travel to the process that holds their row, and
vectors come back; their gradients go the same way, and each process updates its rows in the backward pass itself, by
row-wise Adagrad. TorchRec is imported here alone, when the first table is cut.
"""

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, distributed, nn

from contract.errors import ConfigError
from training.distributed import place

INSTALL = "pip install -c constraints.txt '.[sharded]'"
MODULES = ("model_parallel", "embedding", "sharding_plan", "types")  # of torchrec.distributed
NAME = "rows"  # of the one table, and of its one feature, in its collection


class ShardedTable(nn.Module):
    """This process's rows of a table, behind the interface of the whole `nn.Embedding`.

    TorchRec's module is no submodule: optimiser, DistributedDataParallel and state dicts must not meet its weights.
    """

    sparse = True  # gradients hold only the rows met

    def __init__(self, table: nn.Embedding, epsilon: float, device: torch.device) -> None:
        super().__init__()
        self.num_embeddings, self.width = table.weight.shape
        self.block = -(-self.num_embeddings // place().world)  # rows of each process but the last, which has the rest
        self.torchrec = load_torchrec()
        self.parallel = (_cut(self.torchrec, table, epsilon, device),)
        self.weight = _own(self.parallel[0].state_dict())  # [own rows, width]
        (state,) = self.parallel[0].fused_optimizer.state_dict()["state"].values()
        self.sums = _own(state)  # of squared gradients [own rows]
        self.weight.copy_(self.own(table.weight.detach()))

    def forward(self, rows: Tensor) -> Tensor:
        """rows [N, slots] → [N, slots, width]; all processes call it together."""
        if torch.is_inference_mode_enabled():  # on a CPU the look-up has an autograd kernel alone
            with torch.inference_mode(False), torch.no_grad():
                return self.forward(rows.clone())
        lengths = torch.full((len(rows),), rows.shape[1], dtype=torch.int64, device=rows.device)
        asked = self.torchrec.KeyedJaggedTensor(keys=[NAME], values=rows.flatten(), lengths=lengths)
        found: Tensor = self.parallel[0](asked)[NAME].values()
        return found.view(*rows.shape, self.width)

    def set_learning_rate(self, rate: float) -> None:
        """Of the backward passes that follow."""
        fused = self.parallel[0].fused_optimizer
        for group in fused.param_groups:
            group["lr"] = rate
        fused.zero_grad()  # hands it on

    def own(self, whole: Tensor) -> Tensor:
        """This process's rows."""
        return whole[place().rank * self.block :][: self.block]

    def whole(self, own: Tensor) -> Tensor:
        """All rows, on the first process's CPU; the others get their own back. All processes call it together."""
        rank, world = place()
        padded = torch.cat([own.cpu(), torch.zeros(self.block - len(own), *own.shape[1:])])
        parts = [torch.empty_like(padded) for _ in range(world)] if rank == 0 else None
        distributed.gather(padded, parts)
        return own if parts is None else torch.cat(parts)[: self.num_embeddings]

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        self.weight.copy_(state_dict[f"{prefix}weight"])


def sharded_tables(module: nn.Module) -> dict[str, ShardedTable]:
    """By name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, ShardedTable)}


def load_torchrec() -> Any:
    """The package; ConfigError where it is absent or does not fit torch."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optional parts that it does not find
            for name in MODULES:
                import_module(f"torchrec.distributed.{name}")
            return import_module("torchrec")
    except (ImportError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"model.tables: sharded: needs TorchRec ({reason}); {INSTALL}") from None


def _cut(torchrec: Any, table: nn.Embedding, epsilon: float, device: torch.device) -> Any:
    """A table of this size by DistributedModelParallel, which draws its rows anew."""
    rows, width = table.weight.shape
    config = torchrec.EmbeddingConfig(name=NAME, embedding_dim=width, num_embeddings=rows, feature_names=[NAME])
    collection = torchrec.EmbeddingCollection(tables=[config], device=torch.device("meta"))
    parts = torchrec.distributed
    optimiser = import_module("fbgemm_gpu.split_embedding_configs").EmbOptimType.EXACT_ROWWISE_ADAGRAD
    sharder = parts.embedding.EmbeddingCollectionSharder(fused_params={"optimizer": optimiser, "eps": epsilon})
    by_rows = {NAME: parts.sharding_plan.row_wise(compute_kernel="fused")}
    plan = parts.sharding_plan.construct_module_sharding_plan(
        collection, by_rows, sharder=sharder, device_type=device.type
    )
    return parts.model_parallel.DistributedModelParallel(
        collection,
        device=device,
        plan=parts.types.ShardingPlan({"": plan}),
        sharders=[sharder],
        init_data_parallel=False,
    )


def _own(named: Mapping[str, Any]) -> Tensor:
    """What this process holds of the one sharded tensor: a view, to write to."""
    (sharded,) = named.values()
    tensor: Tensor = sharded.local_shards()[0].tensor.detach()
    return tensor
