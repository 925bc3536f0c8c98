"""Fields → one vector each: [rows, id slots] and [rows, numerics] → [rows, fields, width]."""

from itertools import accumulate

import torch
from torch import Tensor, nn

from contract.errors import SchemaError
from contract.schema import Field, Kind, dense_columns, slot_columns
from training.models.features import Block, Lookup
from training.models.tables import Tables, build_tables

LIMIT = 20.0  # standard deviations: one absurd price must not overflow the net
BINS = 64
NARROWEST = 1e-4  # standard deviations
HEAVIEST = 1000.0  # one absurd weight must not either
MEASURED = 1_000_000  # distinct values at most: quantiles need no more


class SideEmbedding(nn.Module):
    """Embeds the fields of one side.

    Vectors come in the order of `names`: categorical fields, multi-valued ones, numeric ones. An id below 0, or at or
    above its field's size, counts as 0, the field's own 'missing' row. A multi-valued field is the mean of its non-zero
    ids, or, with weights, their weighted sum; its 'missing' row where it has none. A number x becomes z v + b, with
    z = (transform(x) - mean) / scale, and a piecewise-linear departure from that line.
    """

    def __init__(self, fields: tuple[Field, ...], width: int, std: float, tables: Tables = "one") -> None:
        super().__init__()
        slots = slot_columns(fields)
        by_kind = {kind: [field for field in fields if field.kind is kind] for kind in Kind}
        self.names = tuple(field.name for kind in Kind for field in by_kind[kind])
        self.categorical = tuple(field.name for field in by_kind[Kind.CATEGORICAL])
        self.sizes_of = {name: _size(field) for field in fields if (name := field.name) in slots}
        dense = dense_columns(fields)
        self.lists = [(slots[field.name], dense.get(field.name)) for field in by_kind[Kind.MULTI]]
        self.ids = _Ids(fields, self.sizes_of)
        self.numbers = _Numbers(by_kind[Kind.NUMERIC], width)
        self.table = build_tables(tables, self.sizes_of, slots, width, std)
        self.register_buffer(
            "single", torch.tensor([slots[name].start for name in self.categorical], dtype=torch.int64)
        )
        self.single: Tensor
        numeric = [dense[field.name].start for field in by_kind[Kind.NUMERIC]]
        self.weighted = any(weights for _, weights in self.lists)  # then not all dense columns are numbers
        self.register_buffer("numeric", torch.tensor(numeric, dtype=torch.int64), persistent=False)
        self.numeric: Tensor
        for weight in (self.numbers.direction, self.numbers.levels):
            nn.init.normal_(weight, std=std)

    def forward(self, ids: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [rows, fields, width], and the categorical fields' ids made safe [rows, categorical]."""
        parts = []
        safe = self.ids(ids)  # [rows, slots] int64
        if self.sizes_of:
            rows = self.table(safe + self.ids.offsets)  # [rows, slots, width]
            parts = [rows.index_select(1, self.single) if self.lists else rows]
            shares = self._shares(safe, dense)
            parts += [
                (share.unsqueeze(2) * rows[:, columns]).sum(1, keepdim=True)
                for share, (columns, _) in zip(shares, self.lists, strict=True)
            ]
        if len(self.numbers.direction):
            parts.append(self.numbers(self.numbers_of(dense)))
        return torch.cat(parts, dim=1), self._single(safe)

    def lookup(self, ids: Tensor, dense: Tensor) -> tuple[Lookup, Tensor]:
        """The same vectors as weighted rows of `rows_table`, and the safe ids."""
        safe = self.ids(ids)
        rows, weights = [self._single(safe + self.ids.offsets)], [torch.ones(len(ids), len(self.categorical))]
        fields = list(range(len(self.categorical)))
        weights += self._shares(safe, dense)
        for columns, _ in self.lists:
            rows.append((safe + self.ids.offsets)[:, columns])
            fields += [fields[-1] + 1 if fields else 0] * rows[-1].shape[1]
        numeric, shares = self.numbers.lookup(self.numbers_of(dense))
        first = len(self.names) - len(self.numbers.direction)
        fields += [first + n for n in range(len(self.numbers.direction)) for _ in range(3)]
        rows.append(numeric + self.table.num_embeddings)
        return Lookup(torch.cat(rows, 1), torch.cat([*weights, shares], 1), fields), self._single(safe)

    @torch.no_grad()
    def only(self, fields: tuple[Field, ...]) -> "SideEmbedding":
        """The embedding of some of the fields by itself: a copy of their rows."""
        width = self.numbers.direction.shape[1] if len(self.numbers.direction) else self.table.weight.shape[1]
        part = SideEmbedding(fields, width, std=1.0)
        starts = dict(zip(self.sizes_of, self.ids.starts, strict=True))
        rows = [torch.arange(starts[name], starts[name] + size) for name, size in part.sizes_of.items()]
        if rows:
            part.table.weight.copy_(self.table.weight[torch.cat(rows)])
        names = self.names[len(self.names) - len(self.numbers.direction) :]
        chosen = [names.index(name) for name in part.names if name in names]
        part.numbers.load_state_dict({name: values[chosen] for name, values in self.numbers.state_dict().items()})
        return part

    def rows_table(self) -> Tensor:
        """All rows that `lookup` may name: those of ids, then those of numbers [V, width]."""
        return torch.cat([self.table.weight, self.numbers.rows().flatten(0, 1)])

    def blocks(self, most: int) -> list[Block]:
        """Fields of at most `most` ids whose products are cheaper by table rows: one value a row, or a number."""
        starts = dict(zip(self.sizes_of, self.ids.starts, strict=True))
        small = [
            Block(starts[name], starts[name] + self.sizes_of[name], field)
            for field, name in enumerate(self.categorical)
            if self.sizes_of[name] <= most
        ]
        first, height = len(self.names) - len(self.numbers.direction), BINS + 2
        if height <= most:
            begin = self.table.num_embeddings
            small += [
                Block(begin + n * height, begin + (n + 1) * height, first + n)
                for n in range(len(self.numbers.direction))
            ]
        return small

    def numbers_of(self, dense: Tensor) -> Tensor:
        """The dense columns that are numbers, not weights: [rows, numeric fields]."""
        return dense.index_select(1, self.numeric) if self.weighted else dense

    def measure(self, dense: Tensor) -> None:
        """Fit the knots of numbers to training rows."""
        self.numbers.measure(self.numbers_of(dense))

    def _shares(self, safe: Tensor, dense: Tensor) -> list[Tensor]:
        """What each slot adds to the vector of its multi-valued field, [rows, slots] a field."""
        return [
            _shares(safe[:, columns]) if weights is None else _weights(safe[:, columns], dense[:, weights])
            for columns, weights in self.lists
        ]

    def _single(self, safe: Tensor) -> Tensor:
        return safe.index_select(1, self.single) if self.lists else safe


class _Ids(nn.Module):
    """Ids outside [0, size) → 0, inside the graph: execution providers differ in what a bad index does."""

    def __init__(self, fields: tuple[Field, ...], sizes: dict[str, int]) -> None:
        super().__init__()
        self.starts = list(accumulate(sizes.values(), initial=0))[:-1]
        starts = dict(zip(sizes, self.starts, strict=True))
        slots = [field.name for field in fields for _ in range(field.slots)]
        self.register_buffer("sizes", torch.tensor([sizes[name] for name in slots], dtype=torch.int64))
        self.register_buffer("offsets", torch.tensor([starts[name] for name in slots], dtype=torch.int64))
        self.sizes: Tensor
        self.offsets: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        wide = ids.to(torch.int64)
        return torch.where((wide >= 0) & (wide < self.sizes), wide, 0)


class _Numbers(nn.Module):
    """Numbers [rows, n] → vectors [rows, n, width]: z v + T(z), where T runs in straight lines between knots.

    Each knot has a vector of its own, as a bin would, so that a jump in the data is learned as fast as an id; between
    knots the vectors blend, which is the piecewise-linear encoding P(z) of Gorishniy et al. (NeurIPS 2022) times the
    vectors' differences. Knots lie evenly over two deviations until `measure` moves them to quantiles.
    """

    def __init__(self, fields: list[Field], width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([field.mean for field in fields], dtype=torch.float32))
        self.register_buffer("scale", torch.tensor([field.scale for field in fields], dtype=torch.float32))
        self.register_buffer("logged", torch.tensor([f.transform == "log1p" for f in fields], dtype=torch.bool))
        self.register_buffer("knots", torch.linspace(-2, 2, BINS + 1).repeat(len(fields), 1))  # [n, bins + 1]
        self.mean: Tensor
        self.scale: Tensor
        self.logged: Tensor
        self.knots: Tensor
        self.direction = nn.Parameter(torch.empty(len(fields), width))
        self.levels = nn.Parameter(torch.empty(len(fields), BINS + 1, width))  # a vector a knot

    def forward(self, dense: Tensor) -> Tensor:
        z = self.standard(dense).unsqueeze(2)  # [rows, n, 1]
        low, high = self.knots[:, :-1], self.knots[:, 1:]
        filled = ((z - low) / (high - low)).clamp(0, 1)  # [rows, n, bins]
        risen = (filled.transpose(0, 1) @ self.levels.diff(dim=1)).transpose(0, 1)
        return z * self.direction + self.levels[:, 0] + risen

    def rows(self) -> Tensor:
        """[n, bins + 2, width]: the vector at each knot but for z v, then v."""
        return torch.cat([self.levels, self.direction.unsqueeze(1)], dim=1)

    def lookup(self, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors as weighted `rows`: the knots below and above z, and v; row numbers and weights [rows, 3 n]."""
        z = self.standard(dense)  # [rows, n]
        knots = self.knots
        bin_ = torch.searchsorted(knots, z.T.contiguous(), right=True).sub_(1).clamp_(0, BINS - 1)  # [n, rows]
        low, high = knots.gather(1, bin_).T, knots.gather(1, bin_ + 1).T
        share = ((z - low) / (high - low)).clamp(0, 1)
        start = torch.arange(len(knots)) * (BINS + 2)
        below = bin_.T + start
        rows = torch.stack([below, below + 1, (start + BINS + 1).expand_as(below)], dim=2)
        return rows.flatten(1), torch.stack([1 - share, share, z], dim=2).flatten(1)

    def standard(self, dense: Tensor) -> Tensor:
        """z, [rows, n]."""
        x = torch.where(self.logged, dense.sign() * dense.abs().log1p(), dense)
        return ((x - self.mean) / self.scale).clamp(-LIMIT, LIMIT)

    def measure(self, dense: Tensor) -> None:
        """Move each field's knots to quantiles of its DISTINCT values: one frequent value must not take them all."""
        levels = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)
        for field, column in enumerate(self.standard(dense).cpu().double().T):
            distinct = column.unique()
            if len(distinct) > 1:
                spread = torch.quantile(distinct[:: len(distinct) // MEASURED + 1], levels)
                # a bin of no width would divide by zero
                self.knots[field] = (spread + torch.arange(BINS + 1) * NARROWEST).to(self.knots)


def _shares(ids: Tensor) -> Tensor:
    """Of a mean over the non-zero ids, or over the first where all are zero: [rows, slots]."""
    counted = _counted(ids).to(torch.float32)
    return counted / counted.sum(1, keepdim=True)


def _weights(ids: Tensor, weights: Tensor) -> Tensor:
    """The weights of non-zero ids, or 1 for the first where all are zero: [rows, slots]."""
    given = torch.where(ids != 0, weights.clamp(-HEAVIEST, HEAVIEST), 1.0)
    return torch.where(_counted(ids), given, 0.0)


def _counted(ids: Tensor) -> Tensor:
    """Which slots count: [rows, slots]."""
    given = ids != 0
    first = torch.arange(ids.shape[1], device=ids.device) == 0
    return given | (~given.any(dim=1, keepdim=True) & first)


def _size(field: Field) -> int:
    if field.size < 1:
        raise SchemaError(f"field '{field.name}': its size is not measured; use the schema.json that prepare wrote")
    return field.size
