"""`prepare` on several processes or machines: each stage is a Ray Data job over the same units, with the same code.

Ray, since its workers are Python processes that run our own functions: Spark would need a JVM on every machine and a
second implementation of every stage. Chunks are coded where they are read, dictionaries are merged in one place; the
parts are the bytes that one process would write. Input, OUT and OUT.unfinished must lie on storage that all see.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from socket import create_connection
from typing import Any

from polars.exceptions import PolarsError

from contract.errors import ConfigError, TwinscoreError
from training.datasets.preparation.mapping import Mapper, Result, Unit

try:
    import ray
    from ray.data import DataContext, from_items
except ImportError as error:
    raise ConfigError(f"--workers and --cluster need Ray ({error}); pip install -e '.[distributed]'") from None


@contextmanager
def ray_mapper(workers: int, cluster: str | None) -> Iterator[Mapper]:
    """A mapper on a cluster, or on `workers` processes of this machine; both are left when the block ends."""
    if cluster is not None:
        _require_reachable(cluster)
    how: dict[str, Any] = {"address": cluster} if cluster else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--cluster {cluster}: {str(error).splitlines()[0]}") from None
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield _mapped
    finally:
        ray.shutdown()


def _require_reachable(cluster: str) -> None:
    """Ray itself would try for minutes; an address without a port is for Ray to find."""
    host, _, port = cluster.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():
        return
    try:
        create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--cluster {cluster}: cannot be reached ({error}); start Ray there, or mend it") from None


def _mapped(task: Callable[[Unit], Iterator[Result]], units: Sequence[Unit]) -> Iterator[Result]:
    """Results as `mapping.one_by_one` gives them: in the order of the units, each as soon as those before it are."""
    if not units:
        return
    rows = [{"task": pickle.dumps((os.getcwd(), task, unit))} for unit in units]
    for row in from_items(rows, override_num_blocks=len(rows)).map(_work).iter_rows():
        found = pickle.loads(row["found"])  # our own workers wrote it
        if isinstance(found, Exception):
            raise found
        yield from found


def _work(row: dict[str, Any]) -> dict[str, Any]:
    """One unit, in a worker: its results, or the error that is for people."""
    folder, task, unit = pickle.loads(row["task"])
    if os.path.isdir(folder):  # relative paths mean what they do to whoever typed them
        os.chdir(folder)
    try:
        return {"found": pickle.dumps(list(task(unit)))}
    except (TwinscoreError, OSError, PolarsError) as error:
        return {"found": pickle.dumps(error)}
