"""A split that is read from disk while training: memory does not grow with its rows.

Blocks of consecutive rows, as large as the row groups that `prepare` writes, come in an order that seed and epoch
decide. Some blocks at a time make a pool, whose rows are shuffled; a thread reads the next pool meanwhile. Users and
items are held in memory and joined by row number. Under torchrun every process reads its own blocks.

polars slices a Parquet file by decoding only the row groups that overlap, so whole groups need no other library.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from training.batches import Batch, Rows, ahead, joined, shuffled, targets
from training.config import Recipe
from training.datasets.prepared import USER, Prepared, SplitName
from training.device import CPU
from training.distributed import place

BLOCK = 131_072  # rows: prepare's row groups
RESIDENT = 0.5  # of a GPU's free memory, at most, for a split that stays there


@dataclass(frozen=True)
class Stream:
    """One split on disk, as `Rows`. `shuffle_rows`: about how many make a pool; two pools are in memory."""

    data: Prepared
    split: SplitName
    shuffle_rows: int
    block_rows: int = BLOCK

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

    def steps(self, batch_size: int) -> int:
        """As many as the process with most rows needs."""
        world = place().world
        return max(
            math.ceil(self._rows_of(self._blocks(rank, world)) / _part(batch_size, rank, world))
            for rank in range(world)
        )

    def epoch(self, batch_size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        size, given = _part(batch_size, *place()), skip
        for batch in _cut(self._pools(seed, epoch, skip * size), size):
            given += 1
            yield batch
        for _ in range(given, self.steps(batch_size)):  # other processes have rows left
            yield self.sample(1).blank()

    def in_order(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        end = len(self) if stop is None else stop
        blocks = (self._read(begin, min(begin + self.block_rows, end)) for begin in range(start, end, self.block_rows))
        return (batch for block in ahead(blocks, depth=1) for batch in block.in_order(size))

    def sample(self, rows: int) -> Batch:
        """Rows of blocks that lie evenly over the split."""
        wanted = max(1, min(math.ceil(rows / self.block_rows), self._count))  # no rows: one empty block
        blocks = [self._block(part * self._count // wanted) for part in range(wanted)]
        return joined([block.rows(slice(0, math.ceil(rows / wanted))) for block in blocks])

    @cached_property
    def _targets(self) -> tuple[Tensor, Tensor]:
        """Labels and counted rows, read without the other columns: exact metrics need them all."""
        names = [f"label:{task.name}" for task in self.data.schema.tasks]
        known = self.data.interactions(self.split).collect_schema()
        columns = self.data.interactions(self.split).select(name for name in names if name in known).collect()
        return targets(self.data.by_task(columns, "label"), self.data.schema)

    @property
    def _count(self) -> int:
        return math.ceil(len(self) / self.block_rows)

    def _blocks(self, rank: int, world: int) -> range:
        """The blocks of one process: the same ones in every epoch."""
        return range(rank, self._count, world)

    def _rows_of(self, blocks: Sequence[int]) -> int:
        return sum(min(self.block_rows, len(self) - block * self.block_rows) for block in blocks)

    def _pools(self, seed: int, epoch: int, skip: int) -> Iterator[Batch]:
        """Shuffled rows of this process, from its row `skip` of the epoch on; pools before that are not read."""
        rank, world = place()
        own = self._blocks(rank, world)
        order = [own[place] for place in shuffled(len(own), seed, epoch).tolist()]
        many = max(1, self.shuffle_rows // self.block_rows)
        pools = [order[start : start + many] for start in range(0, len(order), many)]
        starts = accumulate(map(self._rows_of, pools), initial=0)
        wanted = [
            (number, pool, max(0, skip - start))
            for number, (pool, start) in enumerate(zip(pools, starts, strict=False))
            if start + self._rows_of(pool) > skip
        ]
        return ahead((self._pool(pool, drop, (seed, epoch, number, rank)) for number, pool, drop in wanted), depth=1)

    def _pool(self, blocks: Sequence[int], drop: int, key: tuple[int, ...]) -> Batch:
        rows = joined([self._block(block) for block in blocks])
        return rows.rows(shuffled(len(rows), *key)[drop:])

    def _block(self, block: int) -> Batch:
        return self._read(block * self.block_rows, (block + 1) * self.block_rows)

    def _read(self, start: int, stop: int) -> Batch:
        moment = self.data.interactions(self.split).slice(start, stop - start).collect()
        return Batch.of(self.data.joined(moment), self.data.schema, CPU)


def open_rows(data: Prepared, split: SplitName, recipe: Recipe, device: torch.device) -> Rows:
    """A split from disk if it has more than `memory_rows`, else from memory: the device's, where it fits."""
    if data.description.rows[split] > recipe.memory_rows:
        return Stream(data, split, recipe.shuffle_rows)
    rows = Batch.of(data.matrices(split), data.schema, CPU)
    if device.type == "cuda" and rows.nbytes < RESIDENT * torch.cuda.mem_get_info(device)[0]:
        return rows.to(device)
    return rows


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
