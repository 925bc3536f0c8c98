"""How the units of a stage are worked on: one after another here, or on a cluster (cluster.py); results in order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

Unit = TypeVar("Unit")
Result = TypeVar("Result")


class Mapper(Protocol):
    """Applies a task to each unit; a unit may have any number of results, and each is yielded as soon as it is there.

    Tasks are functions of a module, units and results picklable, files on a file system that all workers see.
    """

    def __call__(self, task: Callable[[Unit], Iterator[Result]], units: Sequence[Unit]) -> Iterator[Result]:
        """All results, in the order of the units."""
        ...


def one_by_one(task: Callable[[Unit], Iterator[Result]], units: Sequence[Unit]) -> Iterator[Result]:
    """In this process."""
    for unit in units:
        yield from task(unit)


@contextmanager
def mapper(workers: int, cluster: str | None) -> Iterator[Mapper]:
    """The mapper that was asked for; Ray is imported only where it is."""
    if not workers and cluster is None:
        yield one_by_one
        return
    from training.datasets.preparation.cluster import ray_mapper

    with ray_mapper(workers, cluster) as mapped:
        yield mapped
