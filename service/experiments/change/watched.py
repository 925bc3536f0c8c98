"""A file that people edit: its text when it has changed and stays as it is."""

from pathlib import Path

from contract.errors import ConfigError


class WatchedFile:
    """Asked again and again; a file that is just being written is left alone until it is the same twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._read: tuple[int, ...] | None = None

    def changed(self) -> str | None:
        """Its text, once after each change; ConfigError where it is gone or cannot be read, once as well."""
        seen = self._signature()
        settled, self._seen = seen == self._seen, seen
        if not settled or seen == self._read:
            return None
        self._read = seen
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{self._path}: no such file; the last good configuration stays") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._path}: cannot be read: {error}") from None

    def look(self) -> None:
        """Take it for read as it is now."""
        self._seen = self._read = self._signature()

    def again(self) -> None:
        """Take it for changed."""
        self._read = None

    def _signature(self) -> tuple[int, ...]:
        try:
            stat = self._path.stat()
        except OSError:
            return ()
        return stat.st_ino, stat.st_size, stat.st_mtime_ns
