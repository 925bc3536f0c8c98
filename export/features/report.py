"""What the command says while it loads and when it is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter, process_time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Report:
    """Begins to count time when it is made."""

    def __init__(self) -> None:
        self._console = Console(soft_wrap=True)
        self._begun, self._cpu = perf_counter(), process_time()

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(f"features: {text}", highlight=False)

    def figures(self, rows: int, memory: int | None = None) -> str:
        """How fast so many rows went, and the Redis memory that each takes where that was measured."""
        seconds, cpu = perf_counter() - self._begun, process_time() - self._cpu
        if not rows:
            return ""
        speed = f"; {rows:,} rows in {seconds:.1f} s: {rows / seconds:,.0f} rows/s, {rows / cpu:,.0f} a core of this"
        held = "" if memory is None else f"; {memory / rows:,.0f} bytes of Redis memory a row"
        return f"{speed} process{held}"

    def expire(self, ttl: int, first: float) -> None:
        """When rows go that were written from `first` on."""
        last = datetime.fromtimestamp(first + ttl).astimezone()
        self.say(f"rows expire from {last:%Y-%m-%d %H:%M:%S %Z} on; load them again before that")

    @contextmanager
    def progress(self, what: str, done: int, total: int) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal; call it with how much has been done."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task(what, completed=done, total=total)
            yield lambda reached: bar.update(task, completed=reached)
