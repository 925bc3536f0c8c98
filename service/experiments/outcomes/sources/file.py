"""A folder of JSON lines: a process writes PRODUCER.jsonl, then PRODUCER_0002.jsonl and so on, and only appends.

The processes' records are merged by time, since what one wrote last month must not be read after what another wrote
today. Times of events, which are their callers', order nothing. Half a line at the end of a file waits for its rest.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from contract.errors import DataError
from service.experiments.outcomes.entry import Entry, Position, entry

_CHUNK = 1 << 18  # bytes of a process that are read ahead
_SUFFIX = ".jsonl"


class _Producer:
    """The files of one process, one after the other."""

    def __init__(self) -> None:
        self.files: list[Path] = []  # in the order in which they were written
        self.time = 0  # of the exposure read last
        self._read: dict[str, int] = {}
        self._ahead: deque[Entry] = deque()

    def seek(self, position: Position) -> None:
        """Forget what was read ahead."""
        self._read = {name: int(offset) for name, offset in position.items()}
        self._ahead.clear()

    def head(self) -> int | None:
        """The time that the next record is sorted by, None where there is no record now."""
        if not self._ahead:
            self._ahead.extend(self._next_lines())
        if not self._ahead:
            return None
        record = self._ahead[0].record
        if record is not None and record["kind"] == "exposure":
            self.time = record["time"]
        return self.time

    def take(self) -> Entry:
        """The next record, after `head`."""
        return self._ahead.popleft()

    def unread(self) -> int:
        """Bytes."""
        ahead = sum(len(each.raw) + 1 for each in self._ahead)
        return ahead + sum(path.stat().st_size - self._read.get(path.name, 0) for path in self.files)

    def _next_lines(self) -> list[Entry]:
        for path in self.files:
            if lines := list(self._lines(path)):
                self._read[path.name] = int(lines[-1].offset)
                return lines
        return []

    def _lines(self, path: Path) -> Iterator[Entry]:
        offset, size = self._read.get(path.name, 0), _CHUNK
        if path.stat().st_size <= offset:
            return
        with path.open("rb") as file:
            file.seek(offset)
            text = file.read(size)
            while (end := text.rfind(b"\n") + 1) == 0 and (more := file.read(size)):
                text += more
        for line in text[:end].splitlines(keepends=True):
            offset += len(line)
            yield entry(path.name, offset, line.rstrip(b"\r\n"))


class FileSource:
    """All processes of a folder."""

    def __init__(self, folder: Path) -> None:
        self.name = f"file:{folder.resolve()}"
        self._folder, self._position = folder, Position()
        self._producers: dict[str, _Producer] = {}

    def seek(self, position: Position) -> None:
        """Go on from here."""
        self._position, self._producers = dict(position), {}

    def read(self, most: int) -> list[Entry]:
        """The next records of all processes, by time."""
        self._list()
        heads = [(time, name) for name, each in self._producers.items() if (time := each.head()) is not None]
        heapq.heapify(heads)
        taken: list[Entry] = []
        while heads and len(taken) < most:
            _, name = heads[0]
            producer = self._producers[name]
            taken.append(producer.take())
            if (time := producer.head()) is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (time, name))
        return taken

    def lag(self) -> str:
        """In bytes."""
        self._list()
        return f"{sum(each.unread() for each in self._producers.values()):,} bytes"

    def trim(self, position: Position) -> None:
        """Files stay: they are their owner's to remove."""

    def close(self) -> None:
        """Nothing is open between reads."""

    def _list(self) -> None:
        try:
            files = sorted(path for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        except FileNotFoundError:  # nobody has written yet
            return
        except OSError as error:
            raise DataError(f"{self._folder}: cannot be read ({error.strerror}); see TWINSCORE_LOG") from None
        known: dict[str, list[Path]] = {}
        for path in files:
            known.setdefault(path.stem.partition("_")[0], []).append(path)
        for name, paths in known.items():
            if name not in self._producers:
                self._producers[name] = _Producer()
                self._producers[name].seek(self._position)
            self._producers[name].files = paths
        for name in self._producers.keys() - known.keys():
            del self._producers[name]
