"""The tables that ids are looked up in: all fields of a side in one table, or a table a field.

One table is one gather and one parameter: the default. A table a field can be given to optimisers or devices field by
field. Tables larger than one device are made in training/sharding.py.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

Tables = Literal["one", "field", "sharded"]  # sharded: one, until training/sharding.py cuts it


class FieldTables(nn.Module):
    """A table a field, behind the interface of one `nn.Embedding` whose rows are theirs end to end."""

    def __init__(self, sizes: Mapping[str, int], columns: Mapping[str, slice], width: int) -> None:
        super().__init__()
        self.columns = list(columns.values())
        self.each = nn.ModuleDict({_key(name): nn.Embedding(size, width) for name, size in sizes.items()})

    @property
    def tables(self) -> list[nn.Embedding]:
        """In the order of the fields."""
        return [table for table in self.each.values() if isinstance(table, nn.Embedding)]

    @property
    def weight(self) -> Tensor:
        """All rows end to end, [sum of sizes, width]: a copy."""
        return torch.cat([table.weight for table in self.tables])

    @property
    def num_embeddings(self) -> int:
        """Rows of all fields."""
        return sum(table.num_embeddings for table in self.tables)

    @property
    def sparse(self) -> bool:
        """Whether gradients hold only the rows met."""
        return any(table.sparse for table in self.tables)

    def forward(self, rows: Tensor) -> Tensor:
        """rows [N, slots], counted end to end → [N, slots, width]."""
        found, start = [], 0
        for table, columns in zip(self.tables, self.columns, strict=True):
            found.append(table(rows[:, columns] - start))
            start += table.num_embeddings
        return torch.cat(found, dim=1)


def build_tables(
    kind: Tables, sizes: Mapping[str, int], columns: Mapping[str, slice], width: int, std: float
) -> nn.Embedding | FieldTables:
    """Tables of these sizes, weights drawn from N(0, std²)."""
    if kind == "field" and sizes:
        built: nn.Embedding | FieldTables = FieldTables(sizes, columns, width)
    else:
        built = nn.Embedding(sum(sizes.values()), width)
    for weight in built.parameters():
        nn.init.normal_(weight, std=std)
    return built


def _key(name: str) -> str:
    """A field's name as the name of a module, where dots would separate."""
    return name.replace(".", "·")
