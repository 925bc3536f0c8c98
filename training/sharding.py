"""Tables beyond one device: `model.tables: sharded` under torchrun.

The tables of ids are cut by rows (models/sharded.py); all other weights stay data-parallel. In a state dict each
process has its own rows under the table's ordinary name, and `whole` puts them together: what is saved is an
ordinary model. Every process draws the whole tables in its host's memory, so that the weights are those of one process;
a device gets its rows alone.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from contract.errors import ConfigError
from training.config import Recipe
from training.distributed import place
from training.models import Ranker
from training.models.embedding import SideEmbedding
from training.models.sharded import ShardedTable, load_torchrec, sharded_tables
from training.optimiser import EPSILON


def check_sharded(recipe: Recipe) -> None:
    """ConfigError for what sharded tables cannot do."""
    if recipe.model.tables != "sharded":
        return
    if recipe.table_optimiser != "rowwise_adagrad":
        raise ConfigError("model.tables: sharded: needs row-wise Adagrad; set table_optimiser=rowwise_adagrad")
    if recipe.table_decay:
        raise ConfigError("model.tables: sharded: has no decay; leave table_decay 0")
    if recipe.clip_norm is not None:
        raise ConfigError("model.tables: sharded: rows change before the norm of all is known; leave clip_norm null")
    load_torchrec()


def shard(model: Ranker, recipe: Recipe, device: torch.device) -> None:
    """Cut the tables of ids, in place, where the recipe asks for it and there are processes to share them."""
    if recipe.model.tables != "sharded":
        return
    if type(model).backward is not Ranker.backward:
        raise ConfigError("model.tables: sharded: this model puts its gradients together itself; take one or field")
    for name in ("request", "item"):
        side: SideEmbedding = getattr(model, name)
        if place().world > 1 and side.sizes_of:
            assert isinstance(side.table, nn.Embedding)
            _check_rows(side.table.num_embeddings, name)
            side.add_module("table", ShardedTable(side.table, EPSILON, device))


def whole(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A state dict of the module with whole tables, on the first process; all processes call it together."""
    tables = _named(module)
    return {name: tables[name].whole(part) if name in tables else part for name, part in weights.items()}


def own(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The same with this process's rows, of `whole` ones."""
    tables = _named(module)
    return {name: tables[name].own(part) if name in tables else part for name, part in weights.items()}


def _named(module: nn.Module) -> dict[str, ShardedTable]:
    return {f"{name}.weight": table for name, table in sharded_tables(module).items()}


def _check_rows(rows: int, side: str) -> None:
    world = place().world
    if (world - 1) * -(-rows // world) >= rows:
        raise ConfigError(f"model.tables: sharded: {rows} rows of {side} ids are none for some of {world} processes")
