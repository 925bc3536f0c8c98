"""The four files of Ali-CCP: plain, gzipped, or in the tar archives in which they are handed out; read as a stream."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from contract.errors import DataError

BLOCK = 2 * 2**20  # bytes; parsed, a block takes some twenty times as much
Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = ("train", "test")
SKELETON, COMMON = "sample_skeleton", "common_features"


class Readable(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""
        ...


@dataclass(frozen=True)
class File:
    """A text file, or the member of that name of an archive."""

    path: Path
    member: str | None = None

    @property
    def where(self) -> str:
        """For messages."""
        return str(self.path) if self.member is None else f"{self.path}: {self.member}"

    @property
    def identity(self) -> str:
        """Path, size and time of change."""
        state = self.path.stat()
        return f"{self.where}:{state.st_size}:{state.st_mtime_ns}"

    def blocks(self) -> Iterator[bytes]:
        """Whole lines, each ended by \\n, about BLOCK bytes at a time; DataError where the file cannot be read."""
        rest = b""
        try:
            if not self.path.stat().st_size:
                raise DataError(f"{self.where}: is empty; fetch it again")
            with self._open() as stream:
                while part := stream.read(BLOCK):
                    lines, ended, rest = (rest + part).rpartition(b"\n")
                    if ended:
                        yield _plain_ends(lines + ended)
                    elif len(rest) > 2 * BLOCK:
                        raise DataError(f"{self.where}: no end of line in {len(rest):,} bytes; is it a text file?")
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise DataError(f"{self.where}: cannot be read: {str(error) or type(error).__name__}") from None
        if rest:
            yield _plain_ends(rest + b"\n")

    @contextmanager
    def _open(self) -> Iterator[Readable]:
        if not self.path.name.endswith(".gz"):
            with self.path.open("rb") as stream:
                yield stream
            return
        with gzip.open(self.path) as stream:
            if self.member is None:
                yield stream
                return
            with tarfile.open(fileobj=stream, mode="r|", bufsize=2**20) as archive:
                yield self._found(archive, self.member)

    def _found(self, archive: tarfile.TarFile, member: str) -> Readable:
        names = []
        for entry in archive:
            names.append(entry.name)
            if Path(entry.name).name == member and (found := archive.extractfile(entry)) is not None:
                return found
        raise DataError(f"{self.path}: no {member} in the archive; it has: {', '.join(names) or 'nothing'}")


def find(folder: Path, stem: str, part: Part) -> File:
    """One of the four files in a folder; DataError where it is absent, or there in two forms."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    name = f"{stem}_{part}.csv"
    forms = [File(folder / name), File(folder / f"{name}.gz"), File(folder / f"sample_{part}.tar.gz", name)]
    found = [file for file in forms if file.path.is_file()]
    if not found:
        raise DataError(f"{folder}: no {name}; put it here as it is, as {name}.gz, or in {forms[-1].path.name}")
    if len(found) > 1:
        raise DataError(f"{folder}: {name} is in {' and in '.join(file.path.name for file in found)}; move one away")
    return found[0]


def _plain_ends(lines: bytes) -> bytes:
    return lines.replace(b"\r\n", b"\n") if b"\r\n" in lines else lines
