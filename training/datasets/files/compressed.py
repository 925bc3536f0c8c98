"""Files read in blocks from the first byte to the last, unpacked on the way; a stream cut short is an error."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import zstandard

from contract.errors import DataError

PACKED = (".gz", ".zst")
_READ = 1 << 14  # packed bytes at a time: few, for a kilobyte may unpack to tens of megabytes
_GZIP_HEADER = 31  # window bits: the widest window, in a gzip wrapper with its checksum


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def blocks(path: Path, size: int) -> Iterator[bytes]:
    """Blocks of at least `size` bytes, but for the last; DataError where the file is damaged or incomplete."""
    try:
        if path.suffix in PACKED:
            yield from _joined(_unpacked(path), size)
        else:
            with path.open("rb", buffering=0) as stream:
                while block := stream.read(size):
                    yield block
    except EOFError:
        raise DataError(
            f"{path}: cannot be read: ends in the middle of its {path.suffix} stream; copy or download it again"
        ) from None
    except (zlib.error, zstandard.ZstdError) as error:
        why = f"damaged, or no {path.suffix} file ({error})"
        raise DataError(f"{path}: cannot be read: {why}; copy it again, or rename it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _joined(parts: Iterator[bytes], size: int) -> Iterator[bytes]:
    held, length = [], 0
    for part in parts:
        held.append(part)
        length += len(part)
        if length >= size:
            yield b"".join(held)
            held, length = [], 0
    if length:
        yield b"".join(held)


def _unpacked(path: Path) -> Iterator[bytes]:
    """All members or frames, one after the other; EOFError where the last one does not end."""
    unpacker = None
    with path.open("rb") as stream:
        while data := stream.read(_READ):
            while data:
                if unpacker is None and path.suffix == ".gz" and not data.strip(b"\0"):
                    break  # padding, as tapes leave it
                unpacker = unpacker or _unpacker(path)
                yield unpacker.decompress(data)
                data, unpacker = (unpacker.unused_data, None) if unpacker.eof else (b"", unpacker)
    if unpacker is not None:
        raise EOFError


def _unpacker(path: Path) -> _Unpacker:
    if path.suffix == ".gz":
        return zlib.decompressobj(_GZIP_HEADER)
    return zstandard.ZstdDecompressor().decompressobj()
