"""CPU time and memory of processes and all that they started, from /proc."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM, _DEAD_USER, _DEAD_SYSTEM, _PAGES = 1, 11, 12, 13, 14, 21  # after the name in /proc/PID/stat
ENGINE = "engine"  # how the names of threads begin that run a model


@dataclass(frozen=True)
class Usage:
    """What processes used since they began; CPU in seconds."""

    cpu: float
    engine: float  # of `cpu`, in threads that run a model
    rss: float  # MiB, now; pages that processes share count for each


def usage(pids: Iterable[int]) -> Usage:
    """Of these processes and their descendants, those that ended included."""
    found = [(pid, stat) for pid in process_tree(pids) for stat in _stat(Path(f"/proc/{pid}/stat"))]
    spent = (_USER, _SYSTEM, _DEAD_USER, _DEAD_SYSTEM)
    return Usage(
        cpu=sum(int(stat[place]) for _, stat in found for place in spent) / _TICKS,
        engine=sum(_engine_ticks(pid) for pid, _ in found) / _TICKS,
        rss=sum(int(stat[_PAGES]) for _, stat in found) * os.sysconf("SC_PAGE_SIZE") / 2**20,
    )


def _engine_ticks(pid: int) -> int:
    threads = [task for task in _folders(Path(f"/proc/{pid}/task")) if _name(task).startswith(ENGINE)]
    return sum(int(stat[_USER]) + int(stat[_SYSTEM]) for task in threads for stat in _stat(task / "stat"))


def process_tree(pids: Iterable[int]) -> set[int]:
    """These processes and their descendants."""
    children: dict[int, list[int]] = {}
    for folder in _folders(Path("/proc")):
        for stat in _stat(folder / "stat") if folder.name.isdigit() else ():
            children.setdefault(int(stat[_PARENT]), []).append(int(folder.name))
    found, ahead = set[int](), list(pids)
    while ahead:
        pid = ahead.pop()
        if pid not in found:
            found.add(pid)
            ahead += children.get(pid, [])
    return found


def _folders(place: Path) -> list[Path]:
    with suppress(OSError):  # a process may end while we look
        return list(place.iterdir())
    return []


def _name(task: Path) -> str:
    with suppress(OSError):
        return (task / "comm").read_text()
    return ""


def _stat(file: Path) -> Iterator[list[str]]:
    """The fields after the name, in which anything may stand; nothing where the process ended."""
    with suppress(OSError):
        yield file.read_text().rpartition(")")[2].split()
