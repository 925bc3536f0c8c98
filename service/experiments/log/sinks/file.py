"""The plain log: one JSON-lines file a process, and the next one where it has grown large.

PRODUCER.jsonl, PRODUCER_0002.jsonl, PRODUCER_0003.jsonl …, sorted by name as they were written. Files are only
appended to, and never renamed. A process that was killed may leave half a line at the end of its last one.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from service.experiments.log.sinks import Line, SinkDown

ROTATE_BYTES = 256 << 20


class FileSink:
    """Appends in a thread: a slow disk delays nobody."""

    def __init__(self, folder: Path, producer: str, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.name = f"file:{folder}"
        self._folder, self._producer, self._rotate = folder, producer, rotate_bytes
        self._file, self._size, self._parts = -1, 0, 0

    async def write(self, batch: Sequence[Line]) -> None:
        """Whole lines, handed to the operating system."""
        text = b"".join([line.text + b"\n" for line in batch])
        try:
            await asyncio.to_thread(self._append, text)
        except OSError as error:
            raise SinkDown((error.strerror or str(error)).lower()) from None

    async def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, text: bytes) -> None:
        if self._file < 0 or self._size >= self._rotate:
            self._open_next()
        written = 0
        try:
            while written < len(text):
                written += os.write(self._file, text[written:])
        except OSError:
            os.ftruncate(self._file, self._size)  # whole lines only: the batch comes again
            raise
        self._size += written

    def _open_next(self) -> None:
        part = "" if not self._parts else f"_{self._parts + 1:04}"
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._producer}{part}.jsonl"
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size, self._parts = opened, 0, self._parts + 1
