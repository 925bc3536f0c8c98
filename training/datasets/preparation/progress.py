"""Progress of the stages, for people: on a terminal as bars, else not at all."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Stage:
    """One line of progress."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, count: int = 1) -> None:
        """So much more is done."""
        self._progress.advance(self._task, count)


class Stages:
    """Lines of progress, one a stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, name: str, total: int | None) -> Stage:
        """Begin a stage; `total` None: nobody knows."""
        return Stage(self._progress, self._progress.add_task(name, total=total))


@contextmanager
def shown_stages(console: Console | None) -> Iterator[Stages]:
    """Show what is entered."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    silent = console is None or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=silent) as progress:
        yield Stages(progress)
