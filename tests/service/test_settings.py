"""Settings that depend on each other and on the machine."""

import os

import pytest

from service.settings import Settings


@pytest.mark.parametrize("workers", [1, 2, 200])
def test_workers_share_the_cores_unless_threads_are_set(workers: int) -> None:
    cores = len(os.sched_getaffinity(0))
    assert Settings(workers=workers).engine_threads == max(1, cores // workers)
    assert Settings(workers=workers, threads=3).engine_threads == 3


def test_processes_nobody_asked_for() -> None:
    assert Settings(workers=0).processes == min(4, len(os.sched_getaffinity(0)))
    assert Settings(workers=0, device="cuda").processes == 1  # several would only take turns on it
    assert Settings(workers=3).processes == 3
