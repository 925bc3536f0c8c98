"""A split that is read from disk while training: memory does not grow with its rows.

Blocks are the row groups that `prepare` writes, never across two of them or two files, so that each is decoded once;
they come in an order that seed and epoch decide. Some blocks at a time make a pool, whose rows are shuffled; a thread
reads the next pool meanwhile. Users and items are held in memory and joined by row number. Under torchrun every process
reads its own blocks.

polars slices a Parquet file by decoding only the row groups that overlap, so whole groups need no other library.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch
from torch import Tensor

from contract.errors import DataError
from training.batches import Batch, Rows, ahead, joined, shuffled, targets
from training.config import Recipe
from training.datasets.prepared import ROW_GROUP, USER, Prepared, SplitName
from training.device import CPU
from training.distributed import place

RESIDENT = 0.5  # of a GPU's free memory, at most, for a split that stays there


class Block(NamedTuple):
    """Rows [start, start + rows) of one file."""

    part: Path
    start: int
    rows: int


@dataclass(frozen=True)
class Stream:
    """One split on disk, as `Rows`. `shuffle_rows`: about how many make a pool; two pools are in memory."""

    data: Prepared
    split: SplitName
    shuffle_rows: int
    block_rows: int = ROW_GROUP  # of every part's groups, but for its last

    def __len__(self) -> int:
        return self.data.description.rows[self.split]

    @property
    def device(self) -> torch.device:
        return CPU

    @property
    def labels(self) -> Tensor:
        return self._targets[0]

    @property
    def counted(self) -> Tensor:
        return self._targets[1]

    @cached_property
    def users(self) -> Tensor | None:
        if USER not in self.data.interactions(self.split).collect_schema():
            return None
        return torch.tensor(self.data.interactions(self.split).select(USER).collect()[USER].to_numpy())

    @cached_property
    def blocks(self) -> list[Block]:
        """All rows in order; DataError where the files hold other rows than `prepare` wrote."""
        parts = [(part, _rows(part)) for part in self.data.parts(self.split)]
        if (found := sum(rows for _, rows in parts)) != len(self):
            raise DataError(
                f"{parts[0][0].parent}: {found:,} rows where prepared.json has {len(self):,}; prepare the data again"
            )
        blocks = [
            Block(part, start, min(self.block_rows, rows - start))
            for part, rows in parts
            for start in range(0, rows, self.block_rows)
        ]
        return blocks or [Block(parts[0][0], 0, 0)]

    def steps(self, batch_size: int) -> int:
        """As many as the process with most rows needs."""
        world = place().world
        return max(math.ceil(_sum(self._own(rank, world)) / _part(batch_size, rank, world)) for rank in range(world))

    def epoch(self, batch_size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        size, given = _part(batch_size, *place()), skip
        for batch in _cut(self._pools(seed, epoch, skip * size), size):
            given += 1
            yield batch
        for _ in range(given, self.steps(batch_size)):  # other processes have rows left
            yield self.sample(1).blank()

    def in_order(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        parts = map(self._read, _between(self.blocks, start, len(self) if stop is None else stop))
        return (batch for part in ahead(parts, depth=1) for batch in part.in_order(size))

    def sample(self, rows: int) -> Batch:
        """Stretches of consecutive rows that begin evenly over the split."""
        rows = min(rows, len(self))
        count = max(1, math.ceil(rows / self.block_rows))
        starts = [k * len(self) // count for k in range(count)]
        lengths = [(k + 1) * rows // count - k * rows // count for k in range(count)]
        stretches = [_between(self.blocks, start, start + of) for start, of in zip(starts, lengths, strict=True)]
        none = self.blocks[0]._replace(rows=0)
        return joined([self._read(block) for blocks in stretches for block in blocks] or [self._read(none)])

    @cached_property
    def _targets(self) -> tuple[Tensor, Tensor]:
        """Labels and counted rows, read without the other columns: exact metrics need them all."""
        names = [f"label:{task.name}" for task in self.data.schema.tasks]
        known = self.data.interactions(self.split).collect_schema()
        columns = self.data.interactions(self.split).select(name for name in names if name in known).collect()
        return targets(self.data.by_task(columns, "label"), self.data.schema)

    def _own(self, rank: int, world: int) -> list[Block]:
        """The blocks of one process, the same ones in every epoch: large and small ones are dealt in turn."""
        return sorted(self.blocks, key=lambda block: -block.rows)[rank::world]

    def _pools(self, seed: int, epoch: int, skip: int) -> Iterator[Batch]:
        """Shuffled rows of this process, from its row `skip` of the epoch on; pools before that are not read."""
        rank, world = place()
        own = self._own(rank, world)
        pools = _pooled([own[place] for place in shuffled(len(own), seed, epoch).tolist()], self.shuffle_rows)
        starts = accumulate(map(_sum, pools), initial=0)
        wanted = [
            (number, pool, max(0, skip - start))
            for number, (pool, start) in enumerate(zip(pools, starts, strict=False))
            if start + _sum(pool) > skip
        ]
        return ahead((self._pool(pool, drop, (seed, epoch, number, rank)) for number, pool, drop in wanted), depth=1)

    def _pool(self, blocks: Sequence[Block], drop: int, key: tuple[int, ...]) -> Batch:
        rows = joined([self._read(block) for block in blocks])
        return rows.rows(shuffled(len(rows), *key)[drop:])

    def _read(self, block: Block) -> Batch:
        try:  # of one file: to open all of them for each block costs as much as a block at a thousand
            moment = pl.scan_parquet(block.part, glob=False).slice(block.start, block.rows).collect()
        except pl.exceptions.PolarsError as error:
            raise _unreadable(block.part, error) from None
        return Batch.of(self.data.joined(moment), self.data.schema, CPU)


def open_rows(data: Prepared, split: SplitName, recipe: Recipe, device: torch.device) -> Rows:
    """A split from disk if it has more than `memory_rows`, else from memory: the device's, where it fits."""
    if data.description.rows[split] > recipe.memory_rows:
        return Stream(data, split, recipe.shuffle_rows)
    rows = Batch.of(data.matrices(split), data.schema, CPU)
    if device.type == "cuda" and rows.nbytes < RESIDENT * torch.cuda.mem_get_info(device)[0]:
        return rows.to(device)
    return rows


def _rows(part: Path) -> int:
    """Of one file, by its footer."""
    try:
        return int(pl.scan_parquet(part, glob=False).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise _unreadable(part, error) from None


def _unreadable(part: Path, error: Exception) -> DataError:
    reason = str(error).partition("\n")[0]
    return DataError(f"{part}: cannot be read ({reason}); prepare the data again")


def _sum(blocks: Sequence[Block]) -> int:
    return sum(block.rows for block in blocks)


def _between(blocks: Sequence[Block], start: int, stop: int) -> Iterator[Block]:
    """Rows [start, stop) of the split: the blocks that overlap, cut at both ends."""
    for block, first in zip(blocks, accumulate((block.rows for block in blocks), initial=0), strict=False):
        low, high = max(start, first), min(stop, first + block.rows)
        if low < high:
            yield Block(block.part, block.start + low - first, high - low)


def _pooled(blocks: Sequence[Block], most: int) -> list[list[Block]]:
    """Consecutive blocks of at most `most` rows together, or one larger block."""
    pools: list[list[Block]] = []
    for block in blocks:
        if not pools or _sum(pools[-1]) + block.rows > most:
            pools.append([])
        pools[-1].append(block)
    return pools


def _part(batch_size: int, rank: int, world: int) -> int:
    """Rows of a batch that a process takes; at least one."""
    return max(1, len(range(rank, batch_size, world)))


def _cut(pools: Iterator[Batch], size: int) -> Iterator[Batch]:
    """Batches of `size` rows, also across pools; the last may be smaller."""
    left: Batch | None = None
    for pool in pools:
        start = 0
        if left is not None:
            start = size - len(left)
            left = joined([left, pool.rows(slice(0, start))])
            if len(left) < size:
                continue
            yield left
        whole = start + (len(pool) - start) // size * size
        yield from pool.in_order(size, start, whole)
        left = pool.rows(torch.arange(whole, len(pool))) if whole < len(pool) else None  # a copy: frees the pool
    if left is not None:
        yield left
